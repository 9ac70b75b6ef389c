/** Save data as a file in the user's folder of downloads. */
export function saveFile(data: Blob, name: string): void {
  const url = URL.createObjectURL(data);
  const link = document.createElement('a');
  link.href = url;
  link.download = name;
  link.click();
  // The browser has begun to read the data only after this turn of its loop.
  window.setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
