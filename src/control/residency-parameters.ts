/** Inputs about places. */
import { z } from 'zod'
import { ownLocation, placePattern } from '../identity/residency.ts'

const placesMax = 50
const place = z
  .string()
  .regex(placePattern, 'the code of a country or a region: FR, EU, US, GLOBAL')

export const allowedLocations = z
  .array(place)
  .max(placesMax)
  .describe(
    'Places where the prompts may go besides our own machines, such as FR or EU, which holds its countries. Empty: our own machines only.',
  )

/** Of an engine. */
export const location = z
  .union([z.literal(ownLocation), place])
  .describe("'local' for a machine of our own, else the country or region, such as FR or EU.")
