/**
 * The known name that a mistyped one was meant to be, or undefined when none is near: one slip in every six
 * characters, at most three, where a character too many, too few, another one, or two swapped is one slip. Of
 * several the nearest, and of equally near ones the first.
 */
export function nearestName(name: string, known: Iterable<string>): string | undefined {
  let most = Math.min(3, Math.max(1, Math.floor(name.length / 6)));
  // Names of one or two letters are near everything that is short.
  if (name.length < 3) return undefined;
  let nearest: string | undefined;
  for (const candidate of known) {
    if (Math.abs(candidate.length - name.length) > most) continue;
    const slips = slipsBetween(name, candidate);
    if (slips > most) continue;
    nearest = candidate;
    // From here on only a nearer one counts.
    most = slips - 1;
    if (most < 0) break;
  }
  return nearest;
}

/** Edit distance in which two neighbours that are swapped count once (optimal string alignment). */
function slipsBetween(one: string, other: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: other.length + 1 }, (_, column) => column);
  for (let row = 1; row <= one.length; row++) {
    const now = [row];
    for (let column = 1; column <= other.length; column++) {
      const same = one[row - 1] === other[column - 1];
      let least = Math.min(
        (last[column] as number) + 1,
        (now[column - 1] as number) + 1,
        (last[column - 1] as number) + (same ? 0 : 1),
      );
      const swapped =
        row > 1 && column > 1 && one[row - 1] === other[column - 2] && one[row - 2] === other[column - 1];
      if (swapped) least = Math.min(least, (beforeLast[column - 2] as number) + 1);
      now.push(least);
    }
    beforeLast = last;
    last = now;
  }
  return last[other.length] as number;
}
