import { z } from 'zod'
import type { OperationDoc } from '../operation.ts'

const kept = {
  status: 304,
  description: 'What you have is what there is.',
  headers: ['etag', 'cache-control'],
} as const

export const openApiDoc: OperationDoc = {
  id: 'describe',
  summary: 'This description',
  tag: 'Platform',
  isPublic: true,
  headerParameters: ['if-none-match'],
  answers: [
    {
      headers: ['etag', 'cache-control'],
      content: [
        {
          type: 'application/json',
          name: 'OpenApi',
          schema: z.looseObject({ openapi: z.literal('3.1.0') }),
        },
      ],
    },
    kept,
  ],
}

export const docsPageDoc: OperationDoc = {
  id: 'showDescription',
  summary: 'This description as a page',
  tag: 'Platform',
  isPublic: true,
  answers: [
    {
      headers: ['content-security-policy', 'cache-control'],
      content: [{ type: 'text/html', description: 'The page.', isText: true }],
    },
  ],
}

export const docsFileDoc: OperationDoc = {
  id: 'loadDescriptionFile',
  summary: 'What the page is made of',
  tag: 'Platform',
  isPublic: true,
  pathParameters: { file: 'One of three.' },
  headerParameters: ['if-none-match'],
  answers: [
    {
      headers: ['etag', 'cache-control'],
      content: [
        { type: 'text/javascript', description: 'A script.', isText: true },
        { type: 'text/css', description: 'A style sheet.', isText: true },
      ],
    },
    kept,
  ],
  faults: ['client.not_found'],
}
