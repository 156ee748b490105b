/** The document as a client gets it, and the judge that holds traffic against it. */
import { renderDocument } from '../../src/gateway/openapi/document.ts'
import { routes, sockets } from '../../src/gateway/routes.ts'
import type { ApiDocument } from './document.ts'
import { createTrafficJudge, type TrafficJudge } from './traffic.ts'

export function publishedDocument(): ApiDocument {
  // A test holds the document against the rules of OpenAPI, of which these types are a part.
  return JSON.parse(JSON.stringify(renderDocument({ routes, sockets }))) as ApiDocument
}

export function judgePublished(): TrafficJudge {
  return createTrafficJudge(publishedDocument())
}
