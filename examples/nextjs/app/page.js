import { connection } from "next/server";
import { Chat } from "./chat.js";

export default async function Page() {
  await connection(); // reads the environment at each request, not when the page is built
  return <Chat url={process.env.THUMBWHEEL_URL} browserKey={process.env.THUMBWHEEL_BROWSER_KEY} />;
}
