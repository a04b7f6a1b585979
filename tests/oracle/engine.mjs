// Answers decisions as @cloud-copilot/iam-simulate makes them: one JSON world a line in, one JSON list of outcomes a line out.
//
//   node engine.mjs FOLDER_WITH_NODE_MODULES
import { createInterface } from 'node:readline'
import { core } from './simulate.mjs'

const { authorize, AwsRequestImpl, RequestContextImpl, loadPolicy, simulationParameters } = await core(process.argv[2])

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
