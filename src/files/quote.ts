/**
 * @file How text from a file (a name, a key, a path) appears in an error message: quoted, without control
 * characters, of bounded length.
 */

const maximumLength = 160;

export function quote(text: string): string {
  const shown = text.length > maximumLength ? `${text.slice(0, maximumLength)}...` : text;
  return JSON.stringify(shown);
}
