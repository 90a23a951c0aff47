// Reads a deployment's predictions over LIT's WebSocket, each once, and prints a line for each. Node 22 or newer alone.
//
//   node predictions.mjs http://127.0.0.1:8000 TOKEN demo market-1 volatility-1 IBM.N
//
// The first message after `hello` is a snapshot; then predictions come one by one. A snapshot comes again after a
// reconnect, or when this program was too slow, so what is not above the last `ordinal` of its model is dropped.

const [url, token, team, stream, deployment, symbol, wanted = "0"] = process.argv.slice(2);
if (symbol === undefined) {
  console.error("usage: node predictions.mjs URL TOKEN TEAM STREAM DEPLOYMENT SYMBOL [HOW_MANY]");
  process.exit(2);
}
const path = `/api/teams/${encodeURIComponent(team)}/streams/${encodeURIComponent(stream)}/live`;
const query = new URLSearchParams({ symbol, deployment });
const last = new Map();
let printed = 0;

function take(said) {
  if (said.ordinal <= (last.get(said.model) ?? -1)) return;
  last.set(said.model, said.ordinal);
  console.log(said.model, said.symbol, said.bar_start, ...said.prediction);
  printed += 1;
  if (printed === Number(wanted)) process.exit(0);
}

function connect() {
  const socket = new WebSocket(`${url.replace(/^http/, "ws")}${path}?${query}`, {
    headers: { Authorization: `Bearer ${token}` },
  });
  socket.onmessage = ({ data }) => {
    const message = JSON.parse(data);
    if (message.type === "snapshot") message.predictions.forEach(take);
    if (message.type === "prediction") take(message.prediction);
    if (message.type === "error") {
      console.error(message.detail);
      process.exit(2);
    }
  };
  socket.onerror = ({ message }) => console.error(message || "no answer", "- trying again");
  socket.onclose = () => setTimeout(connect, 1000);
}

connect();
