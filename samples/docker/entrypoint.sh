#!/bin/sh
# Starts the command of an image with the preload in front of it:
#   ENTRYPOINT ["milvus-otel-entrypoint"]
#   CMD ["node", "server.js"]
# All of its arguments are the command, so it has no options. Variables:
#   OTEL_SDK_DISABLED=true   starts the command as it is
#   OTEL_NODE_PRELOAD_DIR    the folder in which `npm install milvus-otel` was run; when unset, the working
#                            directory, /app, /opt/milvus-otel and the global folder are searched
# The preload goes into NODE_OPTIONS, which Node reads however the command starts it.

# Sets `preload` to the preload of the first folder that has one, else fails.
find_preload() {
  for folder; do
    # To Node, a path that does not begin with / or . is the name of a package.
    case $folder in
      /*) ;;
      *) folder=$PWD/$folder ;;
    esac
    preload=${folder%/}/node_modules/milvus-otel/dist/register.cjs
    [ -f "$preload" ] && return 0
  done
  return 1
}

if [ $# -eq 0 ]; then
  echo 'milvus-otel: no command to start: give the image a CMD, such as ["node", "server.js"]' >&2
  exit 64
fi

# The specification allows any letter case in true.
case ${OTEL_SDK_DISABLED-} in
  [Tt][Rr][Uu][Ee]) exec "$@" ;;
esac

# Loaded already by the image or the command: a second copy, from another folder, would only print a line.
case "${NODE_OPTIONS-} $*" in
  *milvus-otel/register* | *milvus-otel/dist/register.cjs*) exec "$@" ;;
esac

# The app's own install comes first: it is the version that the app was tested with.
if [ -n "${OTEL_NODE_PRELOAD_DIR-}" ]; then
  looked_in="OTEL_NODE_PRELOAD_DIR=$OTEL_NODE_PRELOAD_DIR"
  find_preload "$OTEL_NODE_PRELOAD_DIR" || preload=
else
  looked_in="$PWD, /app, /opt/milvus-otel, /usr/local/lib"
  find_preload "$PWD" /app /opt/milvus-otel /usr/local/lib || preload=
fi

if [ -z "$preload" ]; then
  echo "milvus-otel: No milvus-otel package found in $looked_in. The app runs untraced." \
    'Fix: npm install milvus-otel in one of them, or set OTEL_NODE_PRELOAD_DIR to its folder' >&2
  exec "$@"
fi

# Node splits NODE_OPTIONS at spaces, but not inside double quotes, where a backslash escapes.
case $preload in
  *[\\\"]*) preload=$(printf '%s\n' "$preload" | sed 's/[\\"]/\\&/g') ;;
esac
# --require, not --import: a Node that is too old for --import in NODE_OPTIONS would not start at all.
export NODE_OPTIONS="${NODE_OPTIONS:+$NODE_OPTIONS }--require \"$preload\""

# exec: the app takes over this process, so signals reach it and its exit code is the container's.
exec "$@"
