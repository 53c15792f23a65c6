/**
 * Stands in for your model: writes an answer word by word.
 *
 * @param {{role: string, content: string}[]} messages
 */
export async function* reply(messages) {
  const question = messages.at(-1)?.content ?? "";
  for (const word of `You asked: “${question}” It arrives tomorrow.`.split(/(?<= )/)) {
    await new Promise((resolve) => setTimeout(resolve, 20));
    yield word;
  }
}
