export function joinChunks(entry: string, joined?: string): Promise<void>;
