// What search `number` of the mixed workload asks for, and what the stub Milvus answers: known to both.

const LIMITS = 97;
const COSTS = 41;

/** Limit of a mixed search: 1 to 97. */
export const mixedLimit = (number) => 1 + (number % LIMITS);

/** Rows that it finds: 1 up to its limit. */
export const mixedRows = (number) => 1 + ((number * 7) % mixedLimit(number));

/** One mixed search in 50 fails. */
export const mixedFails = (number) => number % 50 === 49;

/** The cost that Milvus reports for it: 1 to 41. */
export const mixedCost = (number) => 1 + (number % COSTS);
