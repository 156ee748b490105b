/** Which node runs a model that no node runs yet. Pure. */

export interface NodeLoad {
  readonly nodeId: string
  readonly replicas: number
}

/** The node with the fewest replicas; the first of equals. `undefined` when no node is there. */
export function chooseNode(nodes: readonly NodeLoad[]): string | undefined {
  return nodes.toSorted((a, b) => a.replicas - b.replicas)[0]?.nodeId
}

/** Gives each model to a node, counting what it gives. */
export function placeModels(
  modelIds: readonly string[],
  nodes: readonly NodeLoad[],
): ReadonlyMap<string, string> {
  const load = new Map(nodes.map((node) => [node.nodeId, node.replicas]))
  const placed = new Map<string, string>()
  for (const modelId of modelIds) {
    const nodeId = chooseNode([...load].map(([id, replicas]) => ({ nodeId: id, replicas })))
    if (nodeId === undefined) break
    placed.set(modelId, nodeId)
    load.set(nodeId, (load.get(nodeId) ?? 0) + 1)
  }
  return placed
}
