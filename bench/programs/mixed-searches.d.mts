export function mixedLimit(number: number): number;
export function mixedRows(number: number): number;
export function mixedFails(number: number): boolean;
export function mixedCost(number: number): number;
