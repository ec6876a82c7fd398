import { once } from 'node:events';
import {
  createServer,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2';
import type { AddressInfo } from 'node:net';
import { parseArgs } from 'node:util';
import { type MethodDefinition, status } from '@grpc/grpc-js';
import { DataType, getGRPCService } from '@zilliz/milvus2-sdk-node';
import { mixedCost, mixedFails, mixedRows } from './programs/mixed-searches.mjs';
import { announce } from './side-process.ts';

/** Bench and tests search this collection: an Int64 key `id` and a FloatVector `vector` of dimension 5. */
export const STUB_COLLECTION = 'quick_setup';
export const STUB_DIMENSION = 5;

const SUCCESS = { error_code: 'Success', code: 0, reason: '' };
const HIT_IDS = ['1', '2', '3', '4', '5'];

const int64Column = {
  type: 'Int64',
  field_name: 'id',
  field_id: '100',
  scalars: { long_data: { data: HIT_IDS } },
};

/** The answer of each method, in the form of the SDK's protocol definition; a function reads the request. */
const ANSWERS: Record<string, object | ((request: any) => object)> = {
  Connect: {
    status: SUCCESS,
    identifier: '1',
    server_info: { build_tags: 'v2.5.11', deploy_mode: 'STANDALONE' },
  },
  GetVersion: { status: SUCCESS, version: 'v2.5.11' },
  CheckHealth: { status: SUCCESS, isHealthy: true },
  DescribeCollection: (request) => ({
    status: SUCCESS,
    collection_name: request.collection_name,
    collectionID: '1',
    db_name: 'default',
    shards_num: 1,
    num_partitions: '1',
    consistency_level: 'Bounded',
    schema: {
      name: request.collection_name,
      fields: [
        { fieldID: '100', name: 'id', is_primary_key: true, data_type: DataType.Int64 },
        {
          fieldID: '101',
          name: 'vector',
          data_type: DataType.FloatVector,
          type_params: [{ key: 'dim', value: String(STUB_DIMENSION) }],
        },
      ],
    },
  }),
  Search: {
    status: SUCCESS,
    collection_name: STUB_COLLECTION,
    session_ts: '1',
    results: {
      num_queries: '1',
      top_k: '5',
      scores: [0.9, 0.8, 0.7, 0.6, 0.5],
      ids: { int_id: { data: HIT_IDS } },
      topks: ['5'],
      primary_field_name: 'id',
      output_fields: ['id'],
      fields_data: [int64Column],
      all_search_count: '5',
    },
  },
  Query: {
    status: SUCCESS,
    collection_name: STUB_COLLECTION,
    output_fields: ['id'],
    primary_field_name: 'id',
    session_ts: '1',
    fields_data: [int64Column],
  },
  Insert: (request) => ({
    status: SUCCESS,
    IDs: { int_id: { data: Array.from({ length: request.num_rows }, (_, row) => String(row + 1)) } },
    succ_index: Array.from({ length: request.num_rows }, (_, row) => row),
    acknowledged: true,
    insert_cnt: String(request.num_rows),
    timestamp: '1',
  }),
};

/** The stub's answer to mixed search `number`. */
function mixedAnswer(number: number): object {
  if (mixedFails(number))
    return { status: { error_code: 'UnexpectedError', code: 101, reason: 'collection not loaded' } };
  const rows = mixedRows(number);
  const ids = Array.from({ length: rows }, (_, row) => String(row + 1));
  return {
    status: { ...SUCCESS, extra_info: { report_value: String(mixedCost(number)) } },
    collection_name: STUB_COLLECTION,
    session_ts: '1',
    results: {
      num_queries: '1',
      top_k: String(rows),
      scores: ids.map((_, row) => 1 / (row + 2)),
      ids: { int_id: { data: ids } },
      topks: [String(rows)],
      primary_field_name: 'id',
      output_fields: ['id'],
      fields_data: [{ ...int64Column, scalars: { long_data: { data: ids } } }],
      all_search_count: String(rows),
    },
  };
}

/** The number of a mixed search, from its filter in the encoded request; undefined for other searches. */
function mixedNumber(request: Buffer): number | undefined {
  const at = request.indexOf('number == ');
  const number = at === -1 ? undefined : /^\d+/.exec(request.toString('latin1', at + 10, at + 22))?.[0];
  return number === undefined ? undefined : Number(number);
}

export interface StubCall {
  /** The RPC's name, such as `Search`. */
  method: string;
  /** Every header as received, by lower-case name; several values mean that it was sent several times. */
  metadata: Record<string, string[]>;
}

export interface StubMilvus {
  /** 127.0.0.1:port, without a scheme. */
  address: string;
  /** The calls so far, oldest first; always empty unless `record` was asked for. */
  calls(): StubCall[];
  stop(): Promise<void>;
}

/** Prefix of a gRPC message: a compression flag, and its length in 32 bits. */
const FRAME_BYTES = 5;

function framed(message: Buffer): Buffer {
  const frame = Buffer.alloc(FRAME_BYTES + message.length);
  frame.writeUInt32BE(message.length, 1);
  message.copy(frame, FRAME_BYTES);
  return frame;
}

/** The frame of the answer to a request; a fixed one is encoded once. */
type Answer = Buffer | ((body: Buffer) => Buffer);

/** By path, such as `/milvus.proto.milvus.MilvusService/Search`. */
function answers(): Map<string, Answer> {
  const byPath = new Map<string, Answer>();
  const { service } = getGRPCService(
    { serviceName: 'milvus.proto.milvus.MilvusService' },
    { keepCase: true, longs: String, enums: String, defaults: true, oneofs: true },
  ) as unknown as { service: Record<string, MethodDefinition<any, any>> };
  for (const [method, answer] of Object.entries(ANSWERS)) {
    const { path, requestDeserialize, responseSerialize } = service[method] as MethodDefinition<any, any>;
    byPath.set(
      path,
      typeof answer === 'function'
        ? (body) => framed(responseSerialize(answer(requestDeserialize(body.subarray(FRAME_BYTES)))))
        : framed(responseSerialize(answer)),
    );
  }
  const { path, responseSerialize } = service.Search as MethodDefinition<any, any>;
  const fixed = byPath.get(path) as Buffer;
  const mixed = new Map<string, Buffer>();
  byPath.set(path, (body) => {
    const number = mixedNumber(body);
    if (number === undefined) return fixed;
    const key = mixedFails(number) ? 'failed' : `${mixedRows(number)} rows for ${mixedCost(number)}`;
    const frame = mixed.get(key) ?? framed(responseSerialize(mixedAnswer(number)));
    mixed.set(key, frame);
    return frame;
  });
  return byPath;
}

/**
 * A gRPC server with Milvus' protocol as the installed SDK defines it. Answers Connect, GetVersion,
 * CheckHealth, DescribeCollection, Search, Query and Insert with fixed values, any other call with
 * UNIMPLEMENTED. To keep it out of measurements, fixed and mixed answers are encoded once, their requests are
 * not decoded, and it implements only the gRPC of an answer on Node's HTTP/2. `port` 0 (the default) takes a
 * free one; a busy port rejects, naming it.
 */
export async function startStubMilvus(
  options: { port?: number; record?: boolean } = {},
): Promise<StubMilvus> {
  const calls: StubCall[] = [];
  const known = answers();
  const sessions = new Set<ServerHttp2Session>();
  const server = createServer({ settings: { maxConcurrentStreams: 100_000 } });
  server.on('session', (session) => {
    sessions.add(session);
    session.once('close', () => sessions.delete(session));
    // An aborted connection of a client is not an error here.
    session.on('error', () => {});
  });
  server.on('stream', (stream, headers) => {
    const path = String(headers[':path']);
    const method = path.slice(path.lastIndexOf('/') + 1);
    if (options.record) calls.push({ method, metadata: metadataOf(headers) });
    const answer = known.get(path);
    stream.on('error', () => {});
    const chunks: Buffer[] = [];
    if (typeof answer === 'function') stream.on('data', (chunk: Buffer) => chunks.push(chunk));
    else stream.resume();
    stream.once('end', () => {
      if (answer === undefined) refuse(stream, method);
      else respond(stream, typeof answer === 'function' ? answer(Buffer.concat(chunks)) : answer);
    });
  });
  const port = options.port ?? 0;
  try {
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
  } catch (error) {
    throw new Error(`The stub Milvus cannot listen on 127.0.0.1:${port}: ${(error as Error).message}`);
  }
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    calls: () => [...calls],
    // Clients keep connections open: these end with the server.
    stop: async () => {
      server.close();
      for (const session of sessions) session.destroy();
    },
  };
}

const HEADERS = { ':status': 200, 'content-type': 'application/grpc+proto' };
const OK = { 'grpc-status': String(status.OK) };

function respond(stream: ServerHttp2Stream, frame: Buffer): void {
  stream.respond(HEADERS, { waitForTrailers: true });
  stream.once('wantTrailers', () => stream.sendTrailers(OK));
  stream.end(frame);
}

function refuse(stream: ServerHttp2Stream, method: string): void {
  const refusal = { 'grpc-status': String(status.UNIMPLEMENTED), 'grpc-message': `unknown method ${method}` };
  stream.respond({ ...HEADERS, ...refusal }, { endStream: true });
}

function metadataOf(headers: IncomingHttpHeaders): Record<string, string[]> {
  const own = Object.entries(headers).filter(([name]) => !name.startsWith(':'));
  return headersOf(Object.fromEntries(own.map(([name, value]) => [name, [value].flat()])));
}

/** Every header as received, by lower-case name. */
export function headersOf(received: Record<string, unknown[]>): Record<string, string[]> {
  const headers: Record<string, string[]> = {};
  for (const [name, values] of Object.entries(received)) {
    const texts = values.map(String);
    // Node's HTTP/2 joins repeated headers with a comma, and a traceparent never has one.
    headers[name] = name === 'traceparent' ? texts.flatMap((text) => text.split(/\s*,\s*/)) : texts;
  }
  return headers;
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: { port: { type: 'string', default: '0' }, help: { type: 'boolean', default: false } },
  });
  if (values.help) {
    console.log('usage: node bench/stub-milvus.ts [--port <n>]');
    console.log('  --port <n>  port to listen on; 0, the default, takes a free one');
  } else {
    const port = Number(values.port);
    if (!Number.isInteger(port) || port < 0 || port > 65_535) {
      console.error(`--port ${values.port} is not a port: give a whole number from 0 to 65535`);
      process.exit(2);
    }
    const stub = await startStubMilvus({ port });
    if (process.connected) announce(stub.address);
    else console.log(`stub Milvus on ${stub.address}`);
  }
}
