import { z } from 'zod'
import { cohereSchema, teiSchema } from '../../wire/rerank/request.ts'
import { count } from '../answers.ts'
import { rerankError } from '../errors.ts'
import type { NamedSchema, OperationDoc, RequestDoc } from '../operation.ts'

const results = z
  .array(
    z.object({
      index: z.number().int().min(0).describe('Of the document, in the request.'),
      relevance_score: z.number().min(0).max(1),
      document: z.looseObject({ text: z.string() }).optional(),
    }),
  )
  .describe('The most relevant first.')
const meta = (version: '1' | '2') =>
  z.object({
    api_version: z.object({ version: z.literal(version) }),
    billed_units: z.object({ search_units: z.number().int().min(1), input_tokens: count }),
    tokens: z.object({ input_tokens: count, output_tokens: z.literal(0) }),
    method: z.enum(['model', 'cosine']),
  })

const request = {
  type: 'application/json',
  name: 'RerankRequest',
  schema: cohereSchema,
  examples: {
    'Which document answers the question': {
      model: 'bge-reranker-v2-m3',
      query: 'When does the library close?',
      documents: ['The library is open until six.', { text: 'Rivers run to the sea.' }],
      top_n: 1,
      return_documents: true,
    },
  },
} as const satisfies RequestDoc

const shared = {
  description:
    'Where there is no reranking model, the vectors of an embedding model judge; the header `x-rerank-method` says which it was. Scores lie from 0 to 1.',
  tag: 'Rerank',
  isBilled: true,
  error: rerankError,
} as const

function answered(content: NamedSchema): Pick<OperationDoc, 'answers'> {
  return {
    answers: [
      { headers: ['x-rerank-method'], content: [{ type: 'application/json', ...content }] },
    ],
  }
}

export const rerankV1Doc: OperationDoc = {
  ...shared,
  id: 'rerank',
  summary: 'Put documents in the order of their relevance (Cohere 1, Jina, vLLM)',
  request,
  ...answered({
    name: 'RerankAnswer',
    schema: z.object({
      id: z.string(),
      object: z.literal('list'),
      model: z.string(),
      results,
      meta: meta('1'),
      usage: z.object({ prompt_tokens: count, total_tokens: count }),
    }),
  }),
}

export const rerankV2Doc: OperationDoc = {
  ...shared,
  id: 'rerankV2',
  summary: 'Put documents in the order of their relevance (Cohere 2)',
  request,
  ...answered({
    name: 'RerankAnswerV2',
    schema: z.object({ id: z.string(), results, meta: meta('2') }),
  }),
}

export const rerankTeiDoc: OperationDoc = {
  ...shared,
  id: 'rerankTexts',
  summary: 'Put texts in the order of their relevance (text-embeddings-inference)',
  description: `${shared.description} \`raw_scores\` gives them as the model computes them.`,
  request: {
    type: 'application/json',
    name: 'RerankTextsRequest',
    schema: teiSchema,
    examples: {
      'Which text answers the question': {
        model: 'bge-reranker-v2-m3',
        query: 'When does the library close?',
        texts: ['The library is open until six.', 'Rivers run to the sea.'],
        return_text: true,
      },
    },
  },
  ...answered({
    name: 'RankedTexts',
    schema: z.array(
      z.object({
        index: z.number().int().min(0),
        score: z.number(),
        text: z.string().optional(),
      }),
    ),
  }),
}
