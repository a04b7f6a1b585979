// @cloud-copilot/iam-simulate's core, from a folder that has it in node_modules; benchmarks/decide_peer.mjs and engine.mjs ask it.
//
// The package's own entry point drops condition keys that no AWS service lists (an OIDC issuer's `<issuer>:sub` among them) and
// refuses actions it does not know, so its core is called directly.
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

/** What decides, what makes its request, and the parameters both callers simulate under. */
export async function core(folder) {
  const load = (...path) => import(pathToFileURL(join(folder, 'node_modules', '@cloud-copilot', ...path)).href)
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
  return { authorize, AwsRequestImpl, RequestContextImpl, loadPolicy, simulationParameters }
}
