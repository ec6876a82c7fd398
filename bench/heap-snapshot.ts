/**
 * Part of a heap snapshot as V8 writes it: nodes and edges are flat arrays, a fixed number of fields each.
 */
export interface HeapSnapshot {
  snapshot: {
    meta: {
      node_fields: string[];
      node_types: [string[], ...unknown[]];
      edge_fields: string[];
      edge_types: [string[], ...unknown[]];
    };
  };
  nodes: number[];
  edges: number[];
  strings: string[];
}

export interface HeapSummary {
  totalBytes: number;
  /** Bytes of the objects themselves, by type and name, such as `object Span` or `string`. */
  byName: Map<string, number>;
  /**
   * Bytes that would be freed with an object, largest first, without objects below another one of the list.
   */
  retained: { name: string; bytes: number }[];
}

const SMALLEST_RETAINED_BYTES = 32 * 1024;

/** Sums up a snapshot. Takes some seconds for a hundred MB. */
export function summarize({ snapshot, nodes, edges, strings }: HeapSnapshot): HeapSummary {
  const { node_fields, node_types, edge_fields, edge_types } = snapshot.meta;
  const width = node_fields.length;
  const edgeWidth = edge_fields.length;
  const count = nodes.length / width;
  const field = (name: string) => node_fields.indexOf(name);
  const [typeAt, nameAt, sizeAt, edgesAt] = ['type', 'name', 'self_size', 'edge_count'].map(field) as [
    number,
    number,
    number,
    number,
  ];
  const toAt = edge_fields.indexOf('to_node');
  const edgeTypeAt = edge_fields.indexOf('type');
  const [weak, shortcut] = ['weak', 'shortcut'].map((name) => edge_types[0].indexOf(name));

  const firstEdge = new Uint32Array(count + 1);
  for (let node = 0; node < count; node += 1)
    firstEdge[node + 1] = (firstEdge[node] as number) + (nodes[node * width + edgesAt] as number);
  const successors = function* (node: number): Generator<number> {
    for (let edge = firstEdge[node] as number; edge < (firstEdge[node + 1] as number); edge += 1) {
      const type = edges[edge * edgeWidth + edgeTypeAt];
      // Weak edges keep nothing alive; shortcuts of the root would make everything look shared.
      if (type === weak || (type === shortcut && node === 0)) continue;
      yield (edges[edge * edgeWidth + toAt] as number) / width;
    }
  };
  const label = (node: number): string => {
    const type = node_types[0][nodes[node * width + typeAt] as number] as string;
    if (/string|number|bigint/.test(type)) return type;
    const name = (strings[nodes[node * width + nameAt] as number] as string)
      .replace(/^.*\/node_modules\//, '')
      .replace(/\s+/g, ' ');
    return `${type} ${name.slice(0, 100)}`;
  };
  const size = (node: number) => nodes[node * width + sizeAt] as number;

  const retainedBytes = new Float64Array(count);
  const { order, dominators } = dominatorTree(count, successors);
  for (const node of order) retainedBytes[node] = size(node);
  for (const node of order.toReversed())
    if (node !== 0)
      retainedBytes[dominators[node] as number] =
        (retainedBytes[dominators[node] as number] as number) + (retainedBytes[node] as number);

  const byName = new Map<string, number>();
  for (const node of order) byName.set(label(node), (byName.get(label(node)) ?? 0) + size(node));
  const isRoot = (node: number) => node === 0 || label(node).startsWith('synthetic');
  const retained = [...order]
    .filter(
      (node) =>
        !isRoot(node) &&
        isRoot(dominators[node] as number) &&
        (retainedBytes[node] as number) >= SMALLEST_RETAINED_BYTES,
    )
    .map((node) => ({ name: label(node), bytes: retainedBytes[node] as number }))
    .sort((a, b) => b.bytes - a.bytes);
  return { totalBytes: retainedBytes[0] as number, byName, retained };
}

/**
 * Immediate dominators of all nodes that can be reached from node 0, and those nodes, each after its
 * dominator. The algorithm is that of Cooper, Harvey and Kennedy, "A Simple, Fast Dominance Algorithm".
 */
export function dominatorTree(
  count: number,
  successors: (node: number) => Iterable<number>,
): { order: Uint32Array; dominators: Uint32Array } {
  const postorder = new Int32Array(count).fill(-1);
  const finished: number[] = [];
  const seen = new Uint8Array(count);
  seen[0] = 1;
  const stack = [{ node: 0, next: successors(0)[Symbol.iterator]() }];
  for (let top = stack.at(-1); top; top = stack.at(-1)) {
    const { value, done } = top.next.next();
    if (done) {
      postorder[top.node] = finished.push(top.node) - 1;
      stack.pop();
    } else if (!seen[value]) {
      seen[value] = 1;
      stack.push({ node: value, next: successors(value)[Symbol.iterator]() });
    }
  }
  const predecessors: number[][] = Array.from({ length: count }, () => []);
  for (const node of finished) for (const successor of successors(node)) predecessors[successor]?.push(node);
  const order = Uint32Array.from(finished.reverse());
  const unknown = 0xffff_ffff;
  const dominators = new Uint32Array(count).fill(unknown);
  dominators[0] = 0;
  for (let changed = true; changed; ) {
    changed = false;
    for (const node of order) {
      if (node === 0) continue;
      let dominator = unknown;
      for (const predecessor of predecessors[node] as number[]) {
        if (dominators[predecessor] === unknown) continue;
        if (dominator === unknown) {
          dominator = predecessor;
          continue;
        }
        for (let other = predecessor; dominator !== other; ) {
          while ((postorder[dominator] as number) < (postorder[other] as number))
            dominator = dominators[dominator] as number;
          while ((postorder[other] as number) < (postorder[dominator] as number))
            other = dominators[other] as number;
        }
      }
      if (dominators[node] !== dominator) {
        dominators[node] = dominator;
        changed = true;
      }
    }
  }
  return { order, dominators };
}
