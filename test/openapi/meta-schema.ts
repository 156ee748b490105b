/**
 * What makes a document an OpenAPI 3.1 one (spec.openapis.org/oas/v3.1), as far as a document of ours goes: the objects that it uses, with the fields that
 * each may and must have. A name that is misspelt, or stands in the wrong place, is refused.
 */
const text = { type: 'string', minLength: 1 }
const reference = {
  type: 'object',
  required: ['$ref'],
  properties: { $ref: { type: 'string', pattern: '^#/components/' } },
  additionalProperties: false,
}
const orReference = (name: string): object => ({
  if: { required: ['$ref'] },
  // oxlint-disable-next-line no-thenable -- a keyword of JSON Schema
  then: { $ref: '#/$defs/reference' },
  else: { $ref: `#/$defs/${name}` },
})
const mapOf = (schema: object, names = '^[\\w.-]+$'): object => ({
  type: 'object',
  propertyNames: { pattern: names },
  additionalProperties: schema,
})
/** Extensions are allowed everywhere. */
const record = (required: readonly string[], properties: object): object => ({
  type: 'object',
  required,
  properties,
  patternProperties: { '^x-': true },
  additionalProperties: false,
})

export const openApiMetaSchema = {
  $schema: 'https://json-schema.org/draft/2020-12/schema',
  ...record(['openapi', 'info', 'paths', 'components'], {
    openapi: { pattern: '^3\\.1\\.\\d+$' },
    jsonSchemaDialect: { const: 'https://json-schema.org/draft/2020-12/schema' },
    info: record(['title', 'version'], {
      title: text,
      summary: text,
      description: text,
      version: text,
      license: record(['name'], { name: text, identifier: text }),
    }),
    servers: {
      type: 'array',
      items: record(['url'], { url: text, description: text }),
    },
    security: { $ref: '#/$defs/security' },
    tags: {
      type: 'array',
      items: record(['name'], { name: text, description: text }),
    },
    paths: mapOf({ $ref: '#/$defs/path' }, '^/'),
    components: record([], {
      schemas: mapOf({ $ref: '#/$defs/schema' }),
      responses: mapOf({ $ref: '#/$defs/response' }),
      parameters: mapOf({ $ref: '#/$defs/parameter' }),
      headers: mapOf({ $ref: '#/$defs/header' }),
      securitySchemes: mapOf({ $ref: '#/$defs/securityScheme' }),
    }),
  }),
  $defs: {
    reference,
    schema: { $ref: 'https://json-schema.org/draft/2020-12/schema' },
    security: {
      type: 'array',
      items: mapOf({ type: 'array', items: text }),
    },
    path: record([], {
      get: { $ref: '#/$defs/operation' },
      post: { $ref: '#/$defs/operation' },
      delete: { $ref: '#/$defs/operation' },
    }),
    operation: record(['operationId', 'summary', 'tags', 'parameters', 'responses'], {
      operationId: { type: 'string', pattern: '^[a-z][A-Za-z0-9]*$' },
      summary: text,
      description: text,
      tags: { type: 'array', items: text, minItems: 1 },
      security: { $ref: '#/$defs/security' },
      parameters: { type: 'array', items: orReference('parameter') },
      requestBody: record(['content'], {
        required: { type: 'boolean' },
        content: { $ref: '#/$defs/content' },
      }),
      responses: {
        ...mapOf(orReference('response'), '^[1-5]\\d\\d$'),
        minProperties: 1,
      },
    }),
    parameter: record(['name', 'in', 'schema'], {
      name: text,
      in: { enum: ['path', 'query', 'header'] },
      required: { type: 'boolean' },
      description: text,
      schema: { $ref: '#/$defs/schema' },
    }),
    response: record(['description'], {
      description: text,
      headers: mapOf(orReference('header')),
      content: { $ref: '#/$defs/content' },
    }),
    header: record(['schema'], {
      description: text,
      required: { type: 'boolean' },
      schema: { $ref: '#/$defs/schema' },
    }),
    content: mapOf(
      record(['schema'], {
        schema: { $ref: '#/$defs/schema' },
        examples: mapOf(record(['value'], { summary: text, value: true }), '.'),
      }),
      '^[a-z]+/[a-z*-]+$',
    ),
    securityScheme: record(['type'], {
      type: { enum: ['http', 'apiKey'] },
      scheme: text,
      in: { enum: ['header'] },
      name: text,
      description: text,
    }),
  },
}
