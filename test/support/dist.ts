/** dist/, for test files that run what is in it. */

/** Sees to it that dist/ is there and not older than its sources. */
export async function ensureDist(): Promise<void> {
  // Under `npm test`, which says where its Milvus is, it was built before; the build itself is then not worth
  // loading.
  if (process.env.MILVUS_OTEL_TEST_MILVUS !== undefined) return;
  const { ensureBuilt } = await import('../../tools/build/build-package.ts');
  await ensureBuilt();
}
