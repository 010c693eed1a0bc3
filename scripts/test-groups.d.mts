export declare function reasonToRunAlone(file: string): string | undefined;
export declare function testFiles(): readonly string[];
export declare const sources: ReadonlyMap<string, string>;
