/**
 * The environment of all processes of the bench: this process' own, without variables that would trace, tune
 * or change a measured program, plus those of the variant.
 */
export function measuredEnvironment(set: Record<string, string> = {}): NodeJS.ProcessEnv {
  const inherited = Object.entries(process.env).filter(
    ([name]) =>
      !/^(OTEL|MILVUS|GRPC)_/.test(name) &&
      // npm describes its script's package in these; npm calls of the bench work in another one.
      !/^npm_(package|lifecycle)_|^npm_config_(local_prefix|dry_run)$/.test(name) &&
      !['NODE_OPTIONS', 'NODE_COMPILE_CACHE', 'NODE_V8_COVERAGE', 'NODE_TEST_CONTEXT'].includes(name),
  );
  return { ...Object.fromEntries(inherited), ...set };
}
