/** Every check, in the order in which they run: what others build on comes first. */
import type { Check } from './check.ts'
import {
  chatChoices,
  chatLength,
  chatLogprobs,
  chatModel,
  chatRoles,
  chatSeed,
  chatStop,
  chatUnicode,
} from './checks/chat.ts'
import { contextExceeded, contextWindow } from './checks/context.ts'
import { dialectCompletions, dialectMessages, dialectResponses } from './checks/dialects.ts'
import {
  embeddingsBase64,
  embeddingsBatch,
  embeddingsDimensions,
  embeddingsLength,
  embeddingsOrder,
  embeddingsTokens,
  embeddingsTooLong,
  embeddingsUsage,
} from './checks/embeddings.ts'
import {
  errorsField,
  errorsJson,
  errorsKey,
  errorsModel,
  headersRateLimit,
  headersRequestId,
  modelListed,
} from './checks/errors.ts'
import { jsonArray, jsonEnum, jsonFree, jsonNested } from './checks/json.ts'
import { cancelStream } from './checks/leaving.ts'
import {
  rerankComplete,
  rerankRange,
  rerankSecond,
  rerankSense,
  rerankSorted,
  rerankTop,
} from './checks/rerank.ts'
import { reasoningFields, visionImage } from './checks/specialities.ts'
import { speedFacts } from './checks/speed.ts'
import { streamFraming, streamIdentity, streamOrder, streamUsage } from './checks/streams.ts'
import {
  toolsNamed,
  toolsParallel,
  toolsRequired,
  toolsResult,
  toolsStream,
} from './checks/tools.ts'
import { usageEqual, usageSums } from './checks/usage.ts'

export const checks: readonly Check[] = [
  modelListed,
  chatModel,
  chatLength,
  chatStop,
  chatChoices,
  chatSeed,
  chatLogprobs,
  chatRoles,
  chatUnicode,
  streamFraming,
  streamIdentity,
  streamOrder,
  streamUsage,
  usageSums,
  usageEqual,
  toolsRequired,
  toolsStream,
  toolsParallel,
  toolsResult,
  toolsNamed,
  jsonFree,
  jsonEnum,
  jsonNested,
  jsonArray,
  visionImage,
  reasoningFields,
  cancelStream,
  contextWindow,
  contextExceeded,
  dialectResponses,
  dialectMessages,
  dialectCompletions,
  embeddingsBase64,
  embeddingsBatch,
  embeddingsOrder,
  embeddingsUsage,
  embeddingsLength,
  embeddingsDimensions,
  embeddingsTokens,
  embeddingsTooLong,
  rerankSorted,
  rerankComplete,
  rerankRange,
  rerankTop,
  rerankSense,
  rerankSecond,
  errorsModel,
  errorsField,
  errorsJson,
  errorsKey,
  headersRequestId,
  headersRateLimit,
  speedFacts,
]
