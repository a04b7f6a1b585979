# The agent's image. Build it from the repository's root:
#   docker build -f deploy/agent.Dockerfile -t agent .
# BASE has Python 3.11 or newer as python3, with venv. amd64 and arm64.
ARG BASE=docker.io/library/python:3.11-slim-bookworm

FROM ${BASE} AS build
# For an index or a certificate authority of your own.
ARG PIP_INDEX_URL
ARG PIP_CERT
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
COPY deploy/build.lock deploy/agent.lock /build/
RUN python3 -m venv /opt/build && /opt/build/bin/pip install --quiet --require-hashes -r /build/build.lock && python3 -m venv --without-pip /opt/towpath && /opt/build/bin/pip --python /opt/towpath/bin/python install --quiet --require-hashes --only-binary :all: -r /build/agent.lock
COPY pyproject.toml README.md LICENSE /build/
COPY src /build/src
RUN /opt/build/bin/pip --python /opt/build/bin/python wheel --quiet --no-deps --no-build-isolation -w /build/wheels /build && /opt/build/bin/pip --python /opt/towpath/bin/python install --quiet --no-deps /build/wheels/*.whl

FROM ${BASE}
COPY --from=build /opt/towpath /opt/towpath
ENV PATH=/opt/towpath/bin:/usr/local/bin:/usr/bin:/bin PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 65532:65532
WORKDIR /tmp
ENTRYPOINT ["/opt/towpath/bin/towpath"]
CMD ["agent", "run", "--help"]
