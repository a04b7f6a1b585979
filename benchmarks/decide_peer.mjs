// The peer of benchmarks/decide.py: the same cases through iam-simulate's core, one after the other, each timed.
//
//   node decide_peer.mjs FOLDER_WITH_NODE_MODULES CASES.json
//
// Policies are loaded before the clock starts; the request and its context are made inside it, as on the other side. Answers with one
// JSON object: seconds in all, the outcome of each case, and the nanoseconds each took.
import { readFileSync } from 'node:fs'
import { core } from '../tests/oracle/simulate.mjs'

const { authorize, AwsRequestImpl, RequestContextImpl, loadPolicy, simulationParameters } = await core(process.argv[2])

const { principal, account, policies, cases, warm } = JSON.parse(readFileSync(process.argv[3], 'utf8'))
const fixed = {
  simulationParameters,
  identityPolicies: policies.map((document, index) => loadPolicy(document, { name: `p${index}` })),
  serviceControlPolicies: [],
  resourceControlPolicies: [],
  sessionPolicy: undefined,
  resourcePolicy: undefined,
  permissionBoundaries: undefined,
  vpcEndpointPolicies: undefined
}

function decide([action, resource, context]) {
  const request = new AwsRequestImpl(
    principal,
    { resource, accountId: account },
    action,
    new RequestContextImpl(context),
    resource === '*'
  )
  return authorize({ request, ...fixed }).result
}

for (const each of warm) decide(each)
const outcomes = new Array(cases.length)
const nanoseconds = new Array(cases.length)
const started = process.hrtime.bigint()
for (let index = 0; index < cases.length; index++) {
  const before = process.hrtime.bigint()
  outcomes[index] = decide(cases[index])
  nanoseconds[index] = Number(process.hrtime.bigint() - before)
}
const seconds = Number(process.hrtime.bigint() - started) / 1e9
process.stdout.write(JSON.stringify({ seconds, outcomes, nanoseconds }))
