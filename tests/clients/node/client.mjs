// What every client does, told line by line as JSON (see ../steps.py), with the AWS SDK for JavaScript v3.
import { createInterface } from "node:readline";
import { createRequire } from "node:module";
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
const read = async () => (await s3.send(new GetObjectCommand({ Bucket, Key: `${allowed}one` }))).Body.transformToString();
const names = async () => {
  const found = await s3.send(new ListObjectsV2Command({ Bucket, Prefix: allowed }));
  return (found.Contents ?? []).map((item) => item.Key);
};

tell("version", { version: createRequire(import.meta.url)("@aws-sdk/client-s3/package.json").version });
await write(`${allowed}one`);
tell("write");
tell("read", { text: await read() });
tell("list", { names: await names() });
try {
  await write(`${closed}one`);
  tell("refused", { error: null });
} catch (error) {
  tell("refused", { error: `${error.name}: ${error.message}`, code: error.name });
}
tell("wait");
await new Promise((resolve) => createInterface({ input: process.stdin }).once("line", resolve));
tell("read again", { text: await read() });
await s3.send(new DeleteObjectCommand({ Bucket, Key: `${allowed}one` }));
tell("delete", { names: await names() });
process.exit(0);
