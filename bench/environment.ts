/**
 * The environment of everything that the bench starts: this process' own, without what would trace, tune or
 * change a measured program behind our back, and with what the variant under test sets.
 */
export function measuredEnvironment(set: Record<string, string> = {}): NodeJS.ProcessEnv {
  const inherited = Object.entries(process.env).filter(
    ([name]) =>
      !/^(OTEL|MILVUS|GRPC)_/.test(name) &&
      // npm tells its scripts about the package they belong to; an npm of ours works in another one.
      !/^npm_(package|lifecycle)_|^npm_config_(local_prefix|dry_run)$/.test(name) &&
      !['NODE_OPTIONS', 'NODE_COMPILE_CACHE', 'NODE_V8_COVERAGE', 'NODE_TEST_CONTEXT'].includes(name),
  );
  return { ...Object.fromEntries(inherited), ...set };
}
