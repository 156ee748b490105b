/** OpenAPI 3.1 from the list of operations, and the page that shows it: files of our own origin only, no inline script, nothing remote. */
import { createRequire } from 'node:module'
import { dirname } from 'node:path'
import fastifyStatic from '@fastify/static'
import type { FastifyInstance } from 'fastify'
import { z } from 'zod'
import type { Operation } from './operation.ts'

export function registerDocumentation(
  app: FastifyInstance,
  operations: readonly Operation[],
  prefix: string,
): void {
  const document = JSON.stringify(renderOpenApi(operations, prefix))
  app.get(`${prefix}/openapi.json`, (_request, reply) =>
    reply.type('application/json').send(document),
  )
  app.get('/', (_request, reply) => reply.redirect('/docs'))
  app.get('/docs', (_request, reply) =>
    reply.type('text/html; charset=utf-8').header('content-security-policy', policy).send(page),
  )
  app.get('/docs/start.js', (_request, reply) =>
    reply
      .type('text/javascript')
      .send(
        `SwaggerUIBundle({ url: '${prefix}/openapi.json', dom_id: '#page', deepLinking: true, validatorUrl: null })`,
      ),
  )
  const root = dirname(createRequire(import.meta.url).resolve('swagger-ui-dist/package.json'))
  app.register(fastifyStatic, {
    root,
    prefix: '/docs/',
    // Two files are all that the page needs.
    allowedPath: (path) => path === '/swagger-ui.css' || path === '/swagger-ui-bundle.js',
  })
}

const policy =
  "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'"

const page = `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>Colonnade control API</title><link rel="stylesheet" href="/docs/swagger-ui.css"></head>
<body><div id="page"></div><script src="/docs/swagger-ui-bundle.js"></script><script src="/docs/start.js"></script></body>
</html>
`

export function renderOpenApi(
  operations: readonly Operation[],
  prefix: string,
): Record<string, unknown> {
  const paths: Record<string, Record<string, unknown>> = {}
  for (const operation of operations) {
    const path = (prefix + operation.path).replaceAll(/:(\w+)/g, '{$1}')
    paths[path] = { ...paths[path], [operation.method.toLowerCase()]: renderOperation(operation) }
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Colonnade control API',
      version: '1',
      description:
        'Tenants, keys, models, engines, usage and audit. Authorize with an access token; the local operator token is in DATA/secrets/admin-token.',
    },
    servers: [{ url: '/' }],
    security: [{ token: [] }],
    paths,
    components: {
      securitySchemes: { token: { type: 'http', scheme: 'bearer' } },
      schemas: { Error: errorSchema },
    },
  }
}

const errorSchema = {
  type: 'object',
  required: ['error'],
  properties: {
    error: {
      type: 'object',
      required: ['message', 'type', 'param', 'code'],
      properties: {
        message: { type: 'string', description: 'What is wrong, and what to do.' },
        type: { type: 'string' },
        param: { type: ['string', 'null'] },
        code: { type: 'string', description: 'Described in docs/failure-modes.md.' },
      },
    },
  },
}

const idempotencyKey = {
  name: 'Idempotency-Key',
  in: 'header',
  required: false,
  schema: { type: 'string', minLength: 1, maxLength: 255, pattern: '^[\\x21-\\x7e]+$' },
  description:
    'Any text of your own, such as a UUID. For 24 hours, the same request by the same token with the same key changes nothing more and gets the first answer again, with the header `idempotency-replayed: true`.',
}

function renderOperation(operation: Operation): Record<string, unknown> {
  const failure = (description: string) => ({
    description,
    content: { 'application/json': { schema: { $ref: '#/components/schemas/Error' } } },
  })
  return {
    operationId: operation.id,
    summary: operation.summary,
    description: `Permission: \`${operation.permission}\`.`,
    tags: [operation.id.replace(/^tenant-/, '').split('.')[0]],
    parameters: [
      ...renderParameters(operation.params, 'path'),
      ...renderParameters(operation.query, 'query'),
      ...(operation.method === 'GET' ? [] : [idempotencyKey]),
    ],
    ...(operation.body && operation.method !== 'GET'
      ? {
          requestBody: {
            required: true,
            content: { 'application/json': { schema: toSchema(operation.body, 'input') } },
          },
        }
      : {}),
    responses: {
      200: {
        description: 'Done.',
        content: { 'application/json': { schema: toSchema(operation.result, 'output') } },
      },
      400: failure('The request is not valid.'),
      401: failure('No valid access token.'),
      403: failure('The token lacks the permission.'),
      404: failure('It does not exist, or belongs to another tenant.'),
      ...(operation.method === 'GET'
        ? {}
        : {
            409: failure(
              'It clashes with what is there, or the operation with this Idempotency-Key is under way.',
            ),
            422: failure('The Idempotency-Key was used for something else.'),
          }),
    },
  }
}

function renderParameters(
  schema: z.ZodType | undefined,
  where: 'path' | 'query',
): Record<string, unknown>[] {
  if (!schema) return []
  const { properties, required } = toSchema(schema, 'input')
  const fields =
    typeof properties === 'object' && properties !== null ? Object.entries(properties) : []
  const needed = Array.isArray(required) ? required : []
  return fields.map(([name, field]) => ({
    name,
    in: where,
    required: where === 'path' || needed.includes(name),
    schema: field,
  }))
}

/** Dates travel as ISO strings, which JSON Schema knows as a format. */
function toSchema(schema: z.ZodType, io: 'input' | 'output'): Record<string, unknown> {
  const rendered: Record<string, unknown> = z.toJSONSchema(schema, {
    io,
    unrepresentable: 'any',
    override({ zodSchema, jsonSchema }) {
      if (zodSchema._zod.def.type === 'date')
        Object.assign(jsonSchema, { type: 'string', format: 'date-time' })
    },
  })
  delete rendered['$schema']
  return rendered
}
