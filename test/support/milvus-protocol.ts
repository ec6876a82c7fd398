/** Milvus' protocol files of the installed SDK, read by protobufjs. */
import { readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';

/** The parts of protobufjs that are used here. */
export interface MessageType {
  fields: Record<string, { id: number; type: string; repeated: boolean; map: boolean }>;
  encode(message: object): { finish(): Uint8Array };
  fromObject(object: object): object;
}

interface ProtobufRoot {
  lookupType(name: string): MessageType;
  lookupEnum(name: string): { values: Record<string, number> };
  lookupService(name: string): { methods: Record<string, Method> };
}

interface Method {
  requestType: string;
  responseType: string;
}

const sdk = createRequire(createRequire(import.meta.url).resolve('@zilliz/milvus2-sdk-node'));
const { Root } = sdk('protobufjs') as { Root: { fromJSON(json: object): ProtobufRoot } };
const definitions = sdk('./proto-json/milvus') as { default: object };

export const protocol: ProtobufRoot = Root.fromJSON(definitions.default);
const service = protocol.lookupService('milvus.proto.milvus.MilvusService');

/** By its name in a method or a field, such as `common.Status`. */
export function messageType(name: string): MessageType {
  const bare = name.replace(/^\.?(milvus\.proto\.)?/, '');
  for (const scope of ['', 'milvus.', 'common.', 'schema.']) {
    try {
      return protocol.lookupType(`milvus.proto.${scope}${bare}`);
    } catch {
      // In another scope.
    }
  }
  throw new Error(`no message ${name}`);
}

export function methodTypes(rpc: string): { request: MessageType; response: MessageType } {
  const { requestType, responseType } = service.methods[rpc] as Method;
  return { request: messageType(requestType), response: messageType(responseType) };
}

export const encoded = (type: MessageType, message: object): Uint8Array =>
  type.encode(type.fromObject(message)).finish();

/** The RPCs of the SDK's methods, as named in its source. */
export function rpcsOfSdk(): string[] {
  const folder = path.join(path.dirname(sdk.resolve('./proto-json/milvus')), '..', 'grpc');
  const names = readdirSync(folder)
    .filter((file) => file.endsWith('.js'))
    .flatMap((file) => [
      ...readFileSync(path.join(folder, file), 'utf8').matchAll(
        /promisify\)\([^,]+,\s*(?:\w+ \? )?'(\w+)'(?:\s*:\s*'(\w+)')?/g,
      ),
    ])
    .flatMap(([, name, other]) => [name, other])
    .filter((name) => name !== undefined);
  return [...new Set(names)].sort();
}
