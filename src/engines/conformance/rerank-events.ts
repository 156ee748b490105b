/** What the speakers of Jina's reranking send, as Jina documents it. */
import type { Fixture } from './fixture.ts'
import { rerankRequest } from './requests.ts'

export const jinaRerankFixture: Fixture = {
  shows: 'whole',
  source: { page: 'https://api.jina.ai/redoc#tag/rerank', date: '2026-11-21' },
  request: rerankRequest(['hi', 'The giant panda is a bear species.']),
  answer: {
    contentType: 'application/json',
    events: [
      JSON.stringify({
        model: 'jina-reranker-v2-base-multilingual',
        usage: { total_tokens: 24, prompt_tokens: 24 },
        results: [
          { index: 1, relevance_score: 0.987 },
          { index: 0, relevance_score: 0.0123 },
        ],
      }),
    ],
  },
  parts: [
    { type: 'scores', scores: [0.0123, 0.987], scale: 'probability' },
    {
      type: 'usage',
      usage: { inputTokens: 24, cachedInputTokens: 0, outputTokens: 0, reasoningTokens: 0 },
    },
    { type: 'end' },
  ],
}
