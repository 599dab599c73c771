FROM python:3.12-slim AS builder
# The environment is what the image keeps, and a server has no use for an installer.
RUN python -m venv --without-pip /opt/case-server
WORKDIR /src
# Before the code, so that only a new lock installs the dependencies again.
COPY requirements.lock ./
# There is no compiler here: a dependency without a wheel says so instead of trying to build.
RUN pip --python /opt/case-server/bin/python install --no-cache-dir \
        --require-hashes --only-binary :all: -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY app app
COPY migrations migrations
RUN pip --python /opt/case-server/bin/python install --no-cache-dir --no-deps .

FROM builder AS standalone-builder
COPY requirements-embedded.lock ./
RUN pip --python /opt/case-server/bin/python install --no-cache-dir \
        --require-hashes --only-binary :all: -r requirements-embedded.lock

FROM python:3.12-slim AS base
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin case-server
ENV PATH=/opt/case-server/bin:$PATH \
    CASE_SERVER_HOST=0.0.0.0 \
    CASE_SERVER_PORT=8000
EXPOSE 8000
# Past any proxy that the environment names: it could not reach this address.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s \
    CMD python -c "from urllib.request import ProxyHandler, build_opener; \
build_opener(ProxyHandler({})).open('http://127.0.0.1:$CASE_SERVER_PORT/health')"
CMD ["case-server", "serve"]

# For tests and first tries: an embedded Postgres, and the default client secret.
FROM base AS standalone
COPY --from=standalone-builder /opt/case-server /opt/case-server
RUN install -d -o 10001 -m 700 /var/lib/case-server
ENV CASE_SERVER_DATA_DIR=/var/lib/case-server \
    CASE_SERVER_ALLOW_DEFAULT_SECRET=true
VOLUME /var/lib/case-server
USER 10001

# The last stage is the one that is built if none is named.
FROM base
COPY --from=builder /opt/case-server /opt/case-server
# By its number: orchestrators that refuse root cannot look up names.
USER 10001
