// What every client does, told line by line as JSON (see ../steps.py), with the AWS SDK for Go v2.
// `verify CA LEAF NAME` instead says whether Go believes the certificate.
package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
)

const text = "moved without a key"

var (
	bucket  = os.Getenv("CLIENT_BUCKET")
	allowed = os.Getenv("CLIENT_ALLOWED")
	closed  = os.Getenv("CLIENT_CLOSED")
)

func main() {
	var err error
	if len(os.Args) == 5 && os.Args[1] == "verify" {
		err = verify(os.Args[2], os.Args[3], os.Args[4])
	} else {
		err = run(context.Background())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func tell(step string, more map[string]any) {
	line := map[string]any{"step": step}
	for name, value := range more {
		line[name] = value
	}
	text, _ := json.Marshal(line)
	fmt.Println(string(text))
}

func run(ctx context.Context) error {
	settings, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return err
	}
	client := s3.NewFromConfig(settings)
	tell("version", map[string]any{"version": version("github.com/aws/aws-sdk-go-v2/service/s3")})
	if err := write(ctx, client, allowed+"one"); err != nil {
		return err
	}
	tell("write", nil)
	if err := read(ctx, client, "read"); err != nil {
		return err
	}
	if err := list(ctx, client, "list"); err != nil {
		return err
	}
	if err := large(ctx, client); err != nil {
		return err
	}
	refused := map[string]any{"error": nil}
	if err := write(ctx, client, closed+"one"); err != nil {
		refused["error"] = err.Error()
		var code smithy.APIError
		if errors.As(err, &code) {
			refused["code"] = code.ErrorCode()
		}
	}
	tell("refused", refused)
	tell("wait", nil)
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		return err
	}
	if err := read(ctx, client, "read again"); err != nil {
		return err
	}
	if _, err := client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &bucket, Key: aws.String(allowed + "one")}); err != nil {
		return err
	}
	return list(ctx, client, "delete")
}

func write(ctx context.Context, client *s3.Client, key string) error {
	_, err := client.PutObject(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: bytes.NewReader([]byte(text))})
	return err
}

func read(ctx context.Context, client *s3.Client, step string) error {
	answer, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: aws.String(allowed + "one")})
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	tell(step, map[string]any{"text": string(body)})
	return err
}

func list(ctx context.Context, client *s3.Client, step string) error {
	answer, err := client.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: &bucket, Prefix: &allowed})
	if err != nil {
		return err
	}
	names := []string{}
	for _, item := range answer.Contents {
		names = append(names, *item.Key)
	}
	tell(step, map[string]any{"names": names})
	return nil
}

// large moves 9 MiB. Over TLS as a stream, whose hash nobody knows before it is sent: in chunks, with its checksum behind it.
func large(ctx context.Context, client *s3.Client) error {
	content := make([]byte, 9*1024*1024)
	for place := range content {
		content[place] = byte(place)
	}
	key := allowed + "large"
	var body io.Reader = bytes.NewReader(content)
	if strings.HasPrefix(os.Getenv("AWS_ENDPOINT_URL"), "https:") {
		body = io.MultiReader(body)
	}
	put := &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: body, ContentLength: aws.Int64(int64(len(content)))}
	if _, err := client.PutObject(ctx, put); err != nil {
		return err
	}
	answer, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	digest := sha256.New()
	if _, err := io.Copy(digest, answer.Body); err != nil {
		return err
	}
	tell("large", map[string]any{"digest": hex.EncodeToString(digest.Sum(nil))})
	_, err = client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &bucket, Key: &key})
	return err
}

func version(module string) string {
	built, _ := debug.ReadBuildInfo()
	for _, found := range built.Deps {
		if found.Path == module {
			return found.Version
		}
	}
	return ""
}

func verify(authority, leaf, name string) error {
	roots := x509.NewCertPool()
	trusted, err := os.ReadFile(authority)
	if err != nil {
		return err
	}
	if !roots.AppendCertsFromPEM(trusted) {
		return errors.New("no CA in " + authority)
	}
	content, err := os.ReadFile(leaf)
	if err != nil {
		return err
	}
	block, _ := pem.Decode(content)
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return err
	}
	_, err = certificate.Verify(x509.VerifyOptions{Roots: roots, DNSName: name})
	return err
}
