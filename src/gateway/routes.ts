/** The one list of what the public API answers. */
import { cancelBatch, createBatch, listBatches, retrieveBatch } from './endpoints/batches.ts'
import { chatCompletions } from './endpoints/chat-completions.ts'
import { completions } from './endpoints/completions.ts'
import { countTokens } from './endpoints/count-tokens.ts'
import { embeddings } from './endpoints/embeddings.ts'
import { estimate } from './endpoints/estimate.ts'
import { images } from './endpoints/images.ts'
import {
  createFile,
  deleteFile,
  listFiles,
  retrieveFile,
  retrieveFileContent,
} from './endpoints/files.ts'
import { messages } from './endpoints/messages.ts'
import { listModels, retrieveModel } from './endpoints/models.ts'
import { documentationRoutes } from './endpoints/openapi.ts'
import { responses, responsesSocket } from './endpoints/responses.ts'
import { deleteResponse, listInputItems, retrieveResponse } from './endpoints/stored-responses.ts'
import { speech } from './endpoints/speech.ts'
import { transcriptions } from './endpoints/transcriptions.ts'
import { translations } from './endpoints/translations.ts'
import { moderations } from './endpoints/moderations.ts'
import { realtime } from './endpoints/realtime.ts'
import { rerankTei, rerankV1, rerankV2 } from './endpoints/rerank.ts'
import type { Endpoint } from './endpoint.ts'
import { toRoute, type Route } from './route.ts'
import type { SocketRoute } from './sockets/socket-route.ts'

/** What is metered and billed. */
export const endpoints: readonly Endpoint[] = [
  chatCompletions,
  completions,
  messages,
  responses,
  embeddings,
  transcriptions,
  translations,
  speech,
  images,
  rerankV1,
  rerankV2,
  rerankTei,
  moderations,
]

export const routes: readonly Route[] = [
  ...endpoints.map(toRoute),
  countTokens,
  estimate,
  listModels,
  retrieveModel,
  retrieveResponse,
  deleteResponse,
  listInputItems,
  createFile,
  listFiles,
  retrieveFile,
  retrieveFileContent,
  deleteFile,
  createBatch,
  listBatches,
  retrieveBatch,
  cancelBatch,
  ...documentationRoutes(() => ({ routes, sockets })),
]

/** What is spoken over WebSockets. */
export const sockets: readonly SocketRoute[] = [responsesSocket, realtime]
