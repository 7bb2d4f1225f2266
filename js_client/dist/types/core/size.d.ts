export function formatSize(bytes: number): string;
