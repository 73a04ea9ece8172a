# syntax=docker/dockerfile:1
FROM python:3.11-slim AS build
WORKDIR /src
COPY requirements.lock ./
RUN python -m pip wheel --no-cache-dir --require-hashes -w /wheels -r requirements.lock \
    && python -m pip install --no-cache-dir --no-index --find-links /wheels /wheels/hatchling-*.whl
COPY pyproject.toml README.md LICENSE ./
COPY service ./service
COPY loadtest ./loadtest
RUN python -m pip wheel --no-cache-dir --no-deps --no-build-isolation -w /wheels .
# Only what the two programs need of what was checked above.
RUN python -m venv /opt/sluice && /opt/sluice/bin/python -m pip install --no-cache-dir --no-index --find-links /wheels "sluice[loadtest,data]"

FROM python:3.11-slim
RUN useradd --system --uid 10001 --no-create-home sluice
COPY --from=build /opt/sluice /opt/sluice
ENV PATH=/opt/sluice/bin:$PATH PYTHONUNBUFFERED=1
USER 10001
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/healthz', timeout=2)"]
# Beyond loopback it wants SLUICE_TOKEN or SLUICE_TOKEN_FILE; docs/operations.md tells the rest.
ENTRYPOINT ["sluice", "serve", "--host", "0.0.0.0"]
