/** The one list of checks: each is a column of the table. */
import { cancelChecks } from './cancel.ts'
import { chatChecks } from './chat.ts'
import type { Check } from './check.ts'
import { completionChecks } from './completion.ts'
import { countingChecks } from './counting.ts'
import { embeddingChecks } from './embedding.ts'
import { transcriptionChecks } from './transcription.ts'

export const checks: readonly Check[] = [
  ...chatChecks,
  ...completionChecks,
  ...countingChecks,
  ...cancelChecks,
  ...embeddingChecks,
  ...transcriptionChecks,
]
