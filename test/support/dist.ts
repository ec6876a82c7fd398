/** dist/, for test files that run it. */

/** Builds dist/ when it is missing or older than its sources. */
export async function ensureDist(): Promise<void> {
  // `npm test`, which sets the address of its Milvus, has built it already; the build is slow to load.
  if (process.env.MILVUS_OTEL_TEST_MILVUS !== undefined) return;
  const { ensureBuilt } = await import('../../tools/build/build-package.ts');
  await ensureBuilt();
}
