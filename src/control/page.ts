/** Pagination as all lists of the control API have it: `?limit=&after=`, answered with `data` and `hasMore`. */
import { z } from 'zod'

export const pageQuery = z.object({
  after: z.string().max(200).optional().describe('The last id of the page before.'),
  limit: z.coerce.number().int().min(1).max(500).default(100),
})
export type PageQuery = z.infer<typeof pageQuery>
