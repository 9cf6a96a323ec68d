# One image for every role: `up` runs the whole platform, `serve …` one part of it.

# The digest is that of the index of all architectures. `make lock` makes the requirements files.
FROM python:3.13.7-slim-bookworm@sha256:adafcc17694d715c905b4c7bebd96907a1fd5cf183395f0ebc4d3428bd22d92d AS build

RUN python -m venv /opt/kubefox

# The pinned packages first: they change less often than the code. pip refuses a file whose hash
# is not in the requirements.
COPY requirements.txt requirements-build.txt /src/
RUN pip install --no-cache-dir --require-hashes -r /src/requirements-build.txt \
    && /opt/kubefox/bin/pip install --no-cache-dir --require-hashes -r /src/requirements.txt

COPY pyproject.toml LICENSE README.md /src/
COPY kubefox /src/kubefox
COPY routing /src/routing
COPY broker /src/broker
COPY control /src/control
COPY adapters /src/adapters
COPY pods /src/pods
COPY fox /src/fox
# Without isolation, the build runs the pinned hatchling instead of fetching one.
RUN pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /dist /src \
    && /opt/kubefox/bin/pip install --no-cache-dir --no-deps --no-index /dist/*.whl


# Lists what is installed (CycloneDX), with tools that the image does not contain.
FROM build AS sbom

COPY requirements-supply-chain.txt /src/
RUN pip install --no-cache-dir --require-hashes -r /src/requirements-supply-chain.txt \
    && cyclonedx-py environment --pyproject /src/pyproject.toml --mc-type application \
        --output-reproducible --output-file /dist/sbom.cdx.json /opt/kubefox/bin/python


FROM python:3.13.7-slim-bookworm@sha256:adafcc17694d715c905b4c7bebd96907a1fd5cf183395f0ebc4d3428bd22d92d

LABEL org.opencontainers.image.title="KubeFox for Python" \
      org.opencontainers.image.licenses="Apache-2.0" \
      io.kubefox.sbom="/opt/kubefox/share/sbom.cdx.json"

RUN useradd --system --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin kubefox \
    && install --directory --owner=kubefox --group=kubefox /var/lib/kubefox
COPY --from=build /opt/kubefox /opt/kubefox
COPY --from=sbom /dist/sbom.cdx.json /opt/kubefox/share/sbom.cdx.json

# The control API takes code to run: it stays on loopback, and `docker exec … fox deploy` reaches it.
# It can be published with a certificate only (FOX_CONTROL_HOST, FOX_CONTROL_TLS_CERT, …_KEY).
ENV PATH=/opt/kubefox/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    FOX_DATA_DIR=/var/lib/kubefox \
    FOX_HTTP_HOST=0.0.0.0 \
    FOX_HTTP_PORT=8080 \
    FOX_CONTROL_PORT=8081 \
    FOX_LOG_FORMAT=json

USER 10001:10001
WORKDIR /var/lib/kubefox
VOLUME /var/lib/kubefox
EXPOSE 8080

# `up` and `serve control` have the control API; run another role with --no-healthcheck.
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import os, ssl, urllib.request; urllib.request.urlopen(f'http{\"s\" if os.environ.get(\"FOX_CONTROL_TLS_CERT\") else \"\"}://127.0.0.1:{os.environ[\"FOX_CONTROL_PORT\"]}/readyz', timeout=2, context=ssl._create_unverified_context())"]

ENTRYPOINT ["fox"]
CMD ["up"]
