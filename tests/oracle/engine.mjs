// Answers decisions as @cloud-copilot/iam-simulate makes them: one JSON world a line in, one JSON list of outcomes a line out.
//
//   node engine.mjs FOLDER_WITH_NODE_MODULES
//
// The package's own entry point drops condition keys that no AWS service lists (an OIDC issuer's `<issuer>:sub` among them) and
// refuses actions it does not know, so its core is called directly.
import { createInterface } from 'node:readline'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

const folder = join(process.argv[2], 'node_modules', '@cloud-copilot')
const load = (...path) => import(pathToFileURL(join(folder, ...path)).href)
const simulate = (...path) => load('iam-simulate', 'dist', 'esm', ...path)

const { authorize } = await simulate('core_engine', 'CoreSimulatorEngine.js')
const { AwsRequestImpl } = await simulate('request', 'request.js')
const { RequestContextImpl } = await simulate('requestContext.js')
const { DiscoveryContextKeyConstraints } = await simulate('context_keys', 'discoveryContextKeyConstraints.js')
const { loadPolicy } = await load('iam-policy', 'dist', 'esm', 'index.js')

const simulationParameters = {
  simulationMode: 'Strict',
  discoveryContextKeyConstraints: new DiscoveryContextKeyConstraints([])
}
const named = (document, index) => loadPolicy(document, { name: `p${index}` })
const levels = (found) => found.map((level, index) => ({ orgIdentifier: `o-${index}`, policies: level.map(named) }))
const statements = (document) => [document.Statement].flat()

// The engine knows one session policy; several allow what any of them allows, which is what one with all their statements does.
const together = (documents) => named({ Version: '2012-10-17', Statement: documents.flatMap(statements) }, 0)

function answer(world) {
  const policies = {
    sessionPolicy: world.session ? together(world.session) : undefined,
    identityPolicies: world.identity.map(named),
    serviceControlPolicies: levels(world.scps),
    resourceControlPolicies: levels(world.rcps),
    resourcePolicy: world.resource ? named(world.resource, 0) : undefined,
    permissionBoundaries: world.boundary ? [named(world.boundary, 0)] : undefined,
    vpcEndpointPolicies: world.endpoint ? [named(world.endpoint, 0)] : undefined
  }
  return world.requests.map(({ action, resource, account, principal, context }) => {
    try {
      const request = new AwsRequestImpl(
        principal ?? { type: 'Anonymous' },
        { resource, accountId: account },
        action,
        new RequestContextImpl(context),
        resource === '*' // an action that has no resource of its own
      )
      return authorize({ request, simulationParameters, ...policies }).result
    } catch (error) {
      return `error: ${error.message}`
    }
  })
}

for await (const line of createInterface({ input: process.stdin })) {
  let outcomes
  const world = JSON.parse(line)
  try {
    outcomes = answer(world)
  } catch (error) {
    outcomes = world.requests.map(() => `error: ${error.message}`)
  }
  process.stdout.write(JSON.stringify(outcomes) + '\n')
}
