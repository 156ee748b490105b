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
/** Deletes `/v1/files/x` as a gateway would: right, wrong, and without an end. */
const server = createServer((request, response) => {
  const { searchParams, pathname } = new URL(request.url ?? '/', 'http://gateway')
  if (pathname !== '/v1/files/x') return void response.end('{"a stranger": true}')
  response.writeHead(200, gatewayHeaders)
  const answer = searchParams.get('answer')
  if (answer === 'endless') response.write('{"id":')
  else response.end(JSON.stringify({ id: 'x', object: 'file', deleted: answer !== 'wrong' }))
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
  await (await fetch(`${url}${path}`, { method: 'DELETE' })).text()
}

test('traffic that is as it is described passes, and so does that of strangers', async () => {
  const traffic = judgeTraffic()
  await ask('/v1/files/x')
  await ask('/elsewhere')
  await traffic.finish()
})

test('an answer that is not as it is described fails the harness', async () => {
  const traffic = judgeTraffic()
  await ask('/v1/files/x')
  await ask('/v1/files/x?answer=wrong')
  await expect(traffic.finish()).rejects.toThrow(
    'DELETE /v1/files/x → 200: the body: /deleted must be equal to constant',
  )
})

test('requests and answers are heard byte for byte, and one that its client left as far as it came', async () => {
  const heard: ObservedExchange[] = []
  const watch = watchTraffic((exchange) => void heard.push(exchange))
  const body = new FormData()
  body.set('a', 'b')
  await (await fetch(`${url}/v1/files/x`, { method: 'POST', body })).text()
  const left = new AbortController()
  const response = await fetch(`${url}/v1/files/x?answer=endless`, { signal: left.signal })
  await response.body?.getReader().read()
  left.abort()
  watch.stop()
  const [form, endless] = heard
  expect(form).toMatchObject({ method: 'POST', path: '/v1/files/x', status: 200, isWhole: true })
  expect(form?.requestHeaders['content-type']).toContain('multipart/form-data')
  expect(form?.requestBody.toString()).toContain('name="a"')
  expect(form?.body.toString()).toBe('{"id":"x","object":"file","deleted":true}')
  expect(endless).toMatchObject({ path: '/v1/files/x?answer=endless', isWhole: false })
  expect(endless?.body.toString()).toBe('{"id":')
})
