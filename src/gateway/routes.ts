/** The one list of what the public API answers. */
import { chatCompletions } from './endpoints/chat-completions.ts'
import { embeddings } from './endpoints/embeddings.ts'
import { estimate } from './endpoints/estimate.ts'
import { listModels, retrieveModel } from './endpoints/models.ts'
import type { Endpoint } from './endpoint.ts'
import { toRoute, type Route } from './route.ts'

/** What is metered and billed. */
export const endpoints: readonly Endpoint[] = [chatCompletions, embeddings]

export const routes: readonly Route[] = [
  ...endpoints.map(toRoute),
  estimate,
  listModels,
  retrieveModel,
]
