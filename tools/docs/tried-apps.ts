/**
 * The apps that tests run with the preload: rows of the table in docs/frameworks.md. Tests take packages and
 * traces from here.
 */
import type { Packages } from '../processes/installed.ts';

export interface TriedApp {
  /** The name that users know. Tests find the row by it. */
  app: string;
  /** Name → version, as tools/processes/installed.ts takes them. The tests install these. */
  packages: Packages;
  /** Markdown: how the preload gets into the app. */
  started: string;
  /** Names of the app's spans, from the root to the Milvus operation, whose child is a span of the server. */
  seen: readonly string[];
  /** Markdown: missing spans and other differences. */
  notes?: string;
  /** From test/. */
  test: string;
}

const IMPORT = '`node --import milvus-otel/register app.mjs`';
const withPreload = (command: string): string =>
  `\`NODE_OPTIONS='--import milvus-otel/register' ${command}\``;
const FRAMEWORKS = 'apps/frameworks.test.ts';
const LIBRARIES = 'frameworks/libraries.test.ts';
const SSR_APPS = 'frameworks/ssr-apps.test.ts';
const RUNNERS = 'frameworks/test-runners.test.ts';
const AI_APPS = 'frameworks/ai-apps.test.ts';
const READ_OFF =
  'The runner has its own module loader, so the spans are [read from the gRPC calls](#bundled-apps)';
const SEARCH = 'search docs';

export const TRIED_APPS = [
  { app: '`node:http`', packages: {}, started: IMPORT, seen: ['GET', SEARCH], test: FRAMEWORKS },
  {
    app: 'Express 5',
    packages: { express: '5' },
    started: IMPORT,
    seen: ['GET /ask', 'request handler - /ask', SEARCH],
    test: FRAMEWORKS,
  },
  {
    app: 'Express 4',
    packages: { express: '4' },
    started: IMPORT,
    seen: ['GET /ask', 'request handler - /ask', SEARCH],
    test: LIBRARIES,
  },
  {
    app: 'Koa',
    packages: { koa: '3', '@koa/router': '15' },
    started: IMPORT,
    seen: ['GET /ask', 'router - /ask', SEARCH],
    test: FRAMEWORKS,
  },
  {
    app: 'NestJS',
    packages: { '@nestjs/core': '11', '@nestjs/platform-express': '11' },
    started: IMPORT,
    seen: ['GET /ask', 'request handler - /ask', 'AppController.ask', 'ask', SEARCH],
    test: FRAMEWORKS,
  },
  {
    app: 'Fastify',
    packages: { fastify: '5' },
    started: IMPORT,
    seen: ['GET', SEARCH],
    notes: 'No routes: OpenTelemetry no longer instruments Fastify',
    test: FRAMEWORKS,
  },
  {
    app: 'Fastify with its plugin',
    packages: { fastify: '5', '@fastify/otel': '0.21' },
    started: IMPORT,
    seen: ['GET /ask', 'request', 'handler - fastify -> @fastify/otel', SEARCH],
    test: FRAMEWORKS,
  },
  {
    app: 'Hono',
    packages: { hono: '4', '@hono/node-server': '2' },
    started: IMPORT,
    seen: ['GET', SEARCH],
    notes: 'No routes: OpenTelemetry has no instrumentation of Hono',
    test: LIBRARIES,
  },
  {
    app: 'Next.js 16',
    packages: { next: '16' },
    started: `${withPreload('next start')}, and \`next dev\``,
    seen: ['GET', 'GET /api/search/[id]', 'executing api route (app) /api/search/[id]', SEARCH],
    notes:
      'Built by Turbopack and by webpack, with the SDK [external or bundled](#nextjs). `next build` has no spans',
    test: 'frameworks/next.test.ts',
  },
  {
    app: 'Next.js 15',
    packages: { next: '15' },
    started: `${withPreload('next start')}, \`next dev\`, and \`output: 'standalone'\``,
    seen: ['GET', 'GET /api/search/a', 'executing api route (app) /api/search/[id]/route', SEARCH],
    notes: 'As for Next.js 16',
    test: 'frameworks/next.test.ts',
  },
  {
    app: 'Nuxt',
    packages: { nuxt: '4' },
    started: withPreload('node .output/server/index.mjs'),
    seen: ['GET', SEARCH],
    notes: 'No routes. `nuxt build` has no spans',
    test: SSR_APPS,
  },
  {
    app: 'Nuxt, `nuxt dev`',
    packages: { nuxt: '4' },
    started: withPreload('nuxt dev'),
    seen: ['GET', 'GET', 'GET', SEARCH],
    notes: '`nuxt dev` forwards each request to the server of the app',
    test: SSR_APPS,
  },
  {
    app: 'SvelteKit',
    packages: { '@sveltejs/kit': '3', '@sveltejs/adapter-node': '6' },
    started: `${withPreload('node build/index.js')}, and \`vite dev\``,
    seen: ['GET', SEARCH],
    notes: 'No routes. `vite build` has no spans',
    test: SSR_APPS,
  },
  {
    app: 'Vite, `vite build --ssr`',
    packages: { vite: '8' },
    started: withPreload('node dist/server.js'),
    seen: ['GET', SEARCH],
    test: SSR_APPS,
  },
  {
    app: 'React Router',
    packages: { 'react-router': '8', '@react-router/node': '8', '@react-router/serve': '8' },
    started: withPreload('react-router-serve build/server/index.js'),
    seen: ['GET /', 'request handler', SEARCH],
    notes:
      'All routes have one name, since they are one handler of Express. `react-router build` has no spans',
    test: SSR_APPS,
  },
  {
    app: 'React Router, `react-router dev`',
    packages: { 'react-router': '8', '@react-router/dev': '8' },
    started: withPreload('react-router dev'),
    seen: ['GET', SEARCH],
    test: SSR_APPS,
  },
  {
    app: 'MCP server, SDK 1',
    packages: { '@modelcontextprotocol/sdk': '1' },
    started: `${IMPORT} as the server's command in the client, over stdio`,
    seen: [SEARCH],
    notes:
      "Write the [variables](#mcp-servers) into `env` of the client's configuration. The tool has no span",
    test: LIBRARIES,
  },
  {
    app: 'MCP server, SDK 2',
    packages: { '@modelcontextprotocol/server': '2', '@modelcontextprotocol/client': '2' },
    started: 'As for SDK 1',
    seen: [SEARCH],
    notes: 'As for SDK 1',
    test: LIBRARIES,
  },
  {
    app: 'LangChain',
    packages: { '@langchain/community': '1', '@langchain/core': '1' },
    started: IMPORT,
    seen: [SEARCH],
    notes: 'Its Milvus store. No spans of chains: LangChain has its own callbacks',
    test: 'ecosystem/langchain.test.ts',
  },
  {
    app: 'LlamaIndex',
    packages: { llamaindex: '0.12', '@llamaindex/milvus': '0.1' },
    started: IMPORT,
    seen: [SEARCH],
    notes: 'Its Milvus store. No spans of LlamaIndex',
    test: LIBRARIES,
  },
  {
    app: 'Mastra',
    packages: { '@mastra/core': '1' },
    started: IMPORT,
    seen: [SEARCH],
    notes: 'The search is in a tool of an agent. No spans of the agent: Mastra has its own exporters',
    test: LIBRARIES,
  },
  {
    app: 'Genkit',
    packages: { genkit: '1' },
    started: IMPORT,
    seen: ['ask', 'docs', SEARCH],
    notes:
      "Genkit creates the spans of flow and retriever. It also starts its own OpenTelemetry SDK: one line reports two SDKs, and Genkit's developer UI has no traces",
    test: LIBRARIES,
  },
  {
    app: 'mem0',
    packages: { mem0ai: '3' },
    started: '`node --import milvus-otel/register app.cjs`',
    seen: [SEARCH],
    notes:
      'Its Milvus store, in CommonJS: mem0 3.3 cannot load the SDK in an ES module. Calls of embeddings and models have spans too',
    test: AI_APPS,
  },
  {
    app: 'claude-context',
    packages: { '@zilliz/claude-context-mcp': '0.1' },
    started:
      "In the MCP client, as for the MCP servers above, with the path of the package's `dist/index.js`",
    seen: [SEARCH],
    notes:
      'Version 0.1.15 reports code as indexed when Milvus has rejected its rows. The span `insert` has the status ERROR and the reason',
    test: AI_APPS,
  },
  {
    app: 'AWS Lambda',
    packages: { 'aws-lambda-ric': '4' },
    started: '`NODE_OPTIONS` of the function: [lambda.md](lambda.md)',
    seen: ['ask', SEARCH],
    notes: "Tested with AWS' runtime client in an imitated sandbox, and with a scripted Milvus",
    test: 'frameworks/lambda.test.ts',
  },
  {
    app: 'mocha',
    packages: { mocha: '12' },
    started: withPreload('mocha'),
    seen: [SEARCH],
    test: RUNNERS,
  },
  {
    app: 'vitest',
    packages: { vitest: '5' },
    started: `${withPreload('vitest run')}, pools \`forks\` and \`threads\``,
    seen: [SEARCH],
    test: RUNNERS,
  },
  {
    app: 'vitest in VM contexts',
    packages: { vitest: '5' },
    started: `${withPreload('vitest run')}, pools \`vmThreads\` and \`vmForks\``,
    seen: [SEARCH],
    notes: READ_OFF,
    test: RUNNERS,
  },
  {
    app: 'jest',
    packages: { jest: '30' },
    started: "`NODE_OPTIONS='--import milvus-otel/register --experimental-vm-modules' jest`",
    seen: [SEARCH],
    notes: `${READ_OFF}. jest cannot load the SDK without the second flag, with or without milvus-otel`,
    test: RUNNERS,
  },
  {
    app: 'tap',
    packages: { tap: '21' },
    started: withPreload('tap run'),
    seen: [SEARCH],
    test: RUNNERS,
  },
] as const satisfies readonly TriedApp[];

export type AppName = (typeof TRIED_APPS)[number]['app'];

export function tried(app: AppName): TriedApp {
  return TRIED_APPS.find((row) => row.app === app) as TriedApp;
}
