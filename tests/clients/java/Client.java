// What every client does, told line by line as JSON (see ../steps.py), with the AWS SDK for Java v2.

import java.io.ByteArrayInputStream;
import java.security.MessageDigest;
import java.util.HexFormat;
import java.util.List;
import java.util.stream.Collectors;
import software.amazon.awssdk.awscore.exception.AwsServiceException;
import software.amazon.awssdk.core.sync.RequestBody;
import software.amazon.awssdk.core.util.VersionInfo;
import software.amazon.awssdk.services.s3.S3Client;
import software.amazon.awssdk.services.s3.model.S3Object;

public class Client {
  static final String BUCKET = System.getenv("CLIENT_BUCKET");
  static final String ALLOWED = System.getenv("CLIENT_ALLOWED");
  static final String CLOSED = System.getenv("CLIENT_CLOSED");
  static final S3Client S3 = S3Client.create();

  public static void main(String[] arguments) throws Exception {
    tell("version", "version", quoted(VersionInfo.SDK_VERSION));
    write(ALLOWED + "one");
    tell("write", "ok", "true");
    tell("read", "text", quoted(read()));
    tell("list", "names", names());
    large();
    try {
      write(CLOSED + "one");
      tell("refused", "error", "null");
    } catch (AwsServiceException error) {
      tell("refused", "error", quoted(error.getMessage()), "code", quoted(error.awsErrorDetails().errorCode()));
    }
    tell("wait", "ok", "true");
    System.in.read();
    tell("read again", "text", quoted(read()));
    delete("one");
    tell("delete", "names", names());
  }

  static void write(String key) {
    S3.putObject(put -> put.bucket(BUCKET).key(key), RequestBody.fromString("moved without a key"));
  }

  static String read() {
    return S3.getObjectAsBytes(get -> get.bucket(BUCKET).key(ALLOWED + "one")).asUtf8String();
  }

  static void delete(String name) {
    S3.deleteObject(gone -> gone.bucket(BUCKET).key(ALLOWED + name));
  }

  static String names() {
    List<S3Object> found = S3.listObjectsV2(list -> list.bucket(BUCKET).prefix(ALLOWED)).contents();
    return found.stream().map(item -> quoted(item.key())).collect(Collectors.joining(",", "[", "]"));
  }

  /** 9 MiB as a stream: it goes up in signed chunks. */
  static void large() throws Exception {
    byte[] content = new byte[9 * 1024 * 1024];
    for (int place = 0; place < content.length; place++) {
      content[place] = (byte) place;
    }
    RequestBody body = RequestBody.fromInputStream(new ByteArrayInputStream(content), content.length);
    S3.putObject(put -> put.bucket(BUCKET).key(ALLOWED + "large"), body);
    byte[] back = S3.getObjectAsBytes(get -> get.bucket(BUCKET).key(ALLOWED + "large")).asByteArray();
    tell("large", "digest", quoted(HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(back))));
    delete("large");
  }

  static void tell(String step, String... more) {
    StringBuilder line = new StringBuilder("{\"step\": ").append(quoted(step));
    for (int place = 0; place < more.length; place += 2) {
      line.append(", ").append(quoted(more[place])).append(": ").append(more[place + 1]);
    }
    System.out.println(line.append("}"));
    System.out.flush();
  }

  static String quoted(String text) {
    return "\"" + text.replace("\\", "\\\\").replace("\"", "\\\"").replace("\n", "\\n") + "\"";
  }
}
