/**
 * Return the part of `room` for each section: what it needs, or where that is too much, its part of the rest.
 *
 * @param weights - The parts of the rest in proportion to each other.
 */
export function heightShares(
  needed: ReadonlyArray<number>,
  weights: ReadonlyArray<number>,
  room: number
): number[] {
  const shares = needed.map(() => 0);
  let left = room;
  let open = needed.map((_, index) => index);
  while (open.length > 0) {
    const part = left / open.reduce((sum, index) => sum + weights[index], 0);
    const small = open.filter(index => needed[index] <= part * weights[index]);
    if (small.length === 0) {
      open.forEach(index => (shares[index] = part * weights[index]));
      return shares;
    }
    small.forEach(index => (shares[index] = needed[index]));
    left -= small.reduce((sum, index) => sum + needed[index], 0);
    open = open.filter(index => !small.includes(index));
  }
  // The room that no section needs goes to the last one, so that the others stay together at the top.
  if (shares.length > 0) {
    shares[shares.length - 1] += left;
  }
  return shares;
}
