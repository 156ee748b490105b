/**
 * `GET /v1/openapi.json`, which describes this API for programs, and `/docs`, which shows it to people: files of our own origin only, no inline
 * script, nothing remote. All of it is public, and made once.
 */
import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { Fault } from '../../platform/fault.ts'
import type { Exchange } from '../exchange.ts'
import { renderDocument, type Described } from '../openapi/document.ts'
import { docsFileDoc, docsPageDoc, openApiDoc } from '../openapi/operations/documentation.ts'
import { defineRoute, type Route } from '../route.ts'

interface Asset {
  readonly contentType: string
  readonly body: Buffer
  readonly etag: string
}

const documentPath = '/v1/openapi.json'
/** The name stays and the content changes with each version, so that a copy is asked about before it is shown. */
const cacheControl = 'public, no-cache'
const json = 'application/json'

/** `described` is asked at the first request, because these routes are among what it describes. */
export function documentationRoutes(described: () => Described): readonly Route[] {
  const document = once(async () =>
    toAsset(json, JSON.stringify(await renderDocument(described()))),
  )
  const files: Readonly<Record<string, () => Asset | Promise<Asset>>> = {
    'start.js': once(() => toAsset('text/javascript; charset=utf-8', start)),
    'swagger-ui.css': once(() => readAsset('text/css; charset=utf-8', 'swagger-ui.css')),
    'swagger-ui-bundle.js': once(() =>
      readAsset('text/javascript; charset=utf-8', 'swagger-ui-bundle.js'),
    ),
  }
  return [
    defineRoute({
      method: 'GET',
      path: documentPath,
      doc: openApiDoc,
      handle: async (exchange) => sendAsset(exchange, await document()),
    }),
    defineRoute({
      method: 'GET',
      path: '/docs',
      doc: docsPageDoc,
      handle: (exchange) => exchange.send(200, pageHeaders, page),
    }),
    defineRoute({
      method: 'GET',
      path: '/docs/{file}',
      doc: docsFileDoc,
      async handle(exchange, _deps, { file = '' }) {
        const open = Object.hasOwn(files, file) ? files[file] : undefined
        if (!open) throw notFound()
        await sendAsset(exchange, await open())
      },
    }),
  ]
}

/** A 304 says the length of what it stands for; its body is left out by Node. */
function sendAsset(exchange: Exchange, { contentType, body, etag }: Asset): Promise<void> {
  // A list may come, and proxies that compress mark a tag as weak.
  const isKnown = exchange.headers['if-none-match']?.includes(etag) === true
  const headers = { etag, 'cache-control': cacheControl }
  if (isKnown) return exchange.send(304, headers, body)
  return exchange.send(200, { 'content-type': contentType, ...headers }, body)
}

function toAsset(contentType: string, text: string | Buffer): Asset {
  const body = Buffer.from(text)
  const etag = `"${createHash('sha256').update(body).digest('base64url')}"`
  return { contentType, body, etag }
}

async function readAsset(contentType: string, name: string): Promise<Asset> {
  const root = dirname(createRequire(import.meta.url).resolve('swagger-ui-dist/package.json'))
  return toAsset(contentType, await readFile(join(root, name)))
}

function once<Value>(make: () => Value): () => Value {
  let made: { readonly value: Value } | undefined
  return () => (made ??= { value: make() }).value
}

const policy =
  "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'"
const pageHeaders = {
  'content-type': 'text/html; charset=utf-8',
  'content-security-policy': policy,
  'cache-control': cacheControl,
}
const page = `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>Colonnade API</title><link rel="stylesheet" href="/docs/swagger-ui.css"></head>
<body><div id="page"></div><script src="/docs/swagger-ui-bundle.js"></script><script src="/docs/start.js"></script></body>
</html>
`
const start = `SwaggerUIBundle({ url: '${documentPath}', dom_id: '#page', deepLinking: true, validatorUrl: null })`

function notFound(): Fault {
  return new Fault({
    code: 'client.not_found',
    public: 'There is no such file here.',
    param: 'file',
  })
}
