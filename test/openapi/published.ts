/** The document as a client gets it, and the judge that holds traffic against it. */
import { renderDocument } from '../../src/gateway/openapi/document.ts'
import { routes, sockets } from '../../src/gateway/routes.ts'
import type { ApiDocument } from './document.ts'
import { createTrafficJudge, type TrafficJudge } from './traffic.ts'

export async function publishedDocument(): Promise<ApiDocument> {
  // A test holds the document against the rules of OpenAPI, of which these types are a part.
  return JSON.parse(JSON.stringify(await renderDocument({ routes, sockets }))) as ApiDocument
}

export async function judgePublished(): Promise<TrafficJudge> {
  return createTrafficJudge(await publishedDocument())
}
