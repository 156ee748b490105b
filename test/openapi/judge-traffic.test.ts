/** What goes over the wire is heard without its client's or its server's help, and fails a harness when it is not as it is described. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { ObservedExchange } from './exchange.ts'
import { judgeTraffic } from './judge-traffic.ts'
import { watchTraffic } from './watch-traffic.ts'

const gatewayHeaders = {
  'content-type': 'application/json',
  'x-request-id': 'req_1',
  'request-id': 'req_1',
  'openai-version': '2020-10-01',
  'openai-processing-ms': '1',
  'x-content-type-options': 'nosniff',
}
/** Answers `/v1/models` as a gateway: right, wrong, and without an end. */
const server = createServer((request, response) => {
  const { searchParams, pathname } = new URL(request.url ?? '/', 'http://gateway')
  if (pathname !== '/v1/models') return void response.end('{"a stranger": true}')
  response.writeHead(200, gatewayHeaders)
  const answer = searchParams.get('answer')
  if (answer === 'endless') response.write('{"object":')
  else response.end(JSON.stringify({ object: answer === 'wrong' ? 'tsil' : 'list', data: [] }))
})
let url: string

beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})
afterAll(() => {
  server.closeAllConnections()
  server.close()
})

async function ask(path: string): Promise<void> {
  await (await fetch(`${url}${path}`)).text()
}

test('traffic that is as it is described passes, and so does that of strangers', async () => {
  const traffic = judgeTraffic()
  await ask('/v1/models')
  await ask('/elsewhere')
  await traffic.finish()
})

test('an answer that is not as it is described fails the harness', async () => {
  const traffic = judgeTraffic()
  await ask('/v1/models')
  await ask('/v1/models?answer=wrong')
  await expect(traffic.finish()).rejects.toThrow(
    'GET /v1/models → 200: the body: /object must be equal to constant',
  )
})

test('requests and answers are heard byte for byte, and one that its client left as far as it came', async () => {
  const heard: ObservedExchange[] = []
  const watch = watchTraffic((exchange) => void heard.push(exchange))
  const body = new FormData()
  body.set('a', 'b')
  await (await fetch(`${url}/v1/models`, { method: 'POST', body })).text()
  const left = new AbortController()
  const response = await fetch(`${url}/v1/models?answer=endless`, { signal: left.signal })
  await response.body?.getReader().read()
  left.abort()
  watch.stop()
  const [form, endless] = heard
  expect(form).toMatchObject({ method: 'POST', path: '/v1/models', status: 200, isWhole: true })
  expect(form?.requestHeaders['content-type']).toContain('multipart/form-data')
  expect(form?.requestBody.toString()).toContain('name="a"')
  expect(form?.body.toString()).toBe('{"object":"list","data":[]}')
  expect(endless).toMatchObject({ path: '/v1/models?answer=endless', isWhole: false })
  expect(endless?.body.toString()).toBe('{"object":')
})
