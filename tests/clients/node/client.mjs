// What every client does, told line by line as JSON (see ../steps.py), with the AWS SDK for JavaScript v3.
import { createInterface } from "node:readline";
import { createHash } from "node:crypto";
import { createRequire } from "node:module";
import { Readable } from "node:stream";
import { DeleteObjectCommand, GetObjectCommand, ListObjectsV2Command, PutObjectCommand, S3Client } from "@aws-sdk/client-s3";
import { fromTokenFile } from "@aws-sdk/credential-providers";

const Bucket = process.env.CLIENT_BUCKET;
const allowed = process.env.CLIENT_ALLOWED;
const closed = process.env.CLIENT_CLOSED;
const text = "moved without a key";

const tell = (step, more = {}) => console.log(JSON.stringify({ step, ...more }));
// The client's own chain of providers finds the token file too; naming the provider is what keeps out every other one.
const s3 = new S3Client(process.env.CLIENT_PROVIDER === "token file" ? { credentials: fromTokenFile() } : {});
const write = (Key) => s3.send(new PutObjectCommand({ Bucket, Key, Body: text }));
const get = async (Key) => (await s3.send(new GetObjectCommand({ Bucket, Key }))).Body;
const read = async () => (await get(`${allowed}one`)).transformToString();
const remove = (name) => s3.send(new DeleteObjectCommand({ Bucket, Key: `${allowed}${name}` }));
const names = async () => {
  const found = await s3.send(new ListObjectsV2Command({ Bucket, Prefix: allowed }));
  return (found.Contents ?? []).map((item) => item.Key);
};

tell("version", { version: createRequire(import.meta.url)("@aws-sdk/client-s3/package.json").version });
await write(`${allowed}one`);
tell("write");
tell("read", { text: await read() });
tell("list", { names: await names() });
// A stream, whose hash nobody knows before it is sent: the body goes in chunks with its checksum behind it.
const large = Buffer.alloc(9 * 1024 * 1024, Buffer.from(Array.from({ length: 256 }, (_, byte) => byte)));
await s3.send(
  new PutObjectCommand({ Bucket, Key: `${allowed}large`, Body: Readable.from([large], { objectMode: false }), ContentLength: large.length }),
);
tell("large", { digest: createHash("sha256").update(await (await get(`${allowed}large`)).transformToByteArray()).digest("hex") });
await remove("large");
try {
  await write(`${closed}one`);
  tell("refused", { error: null });
} catch (error) {
  tell("refused", { error: `${error.name}: ${error.message}`, code: error.name });
}
tell("wait");
await new Promise((resolve) => createInterface({ input: process.stdin }).once("line", resolve));
tell("read again", { text: await read() });
await remove("one");
tell("delete", { names: await names() });
process.exit(0);
