# One image for every process of driftline: docker build --tag driftline:0.1.0 .
# The base is pinned by digest, every package by the hashes of requirements.lock.
FROM python:3.11.14-slim-bookworm@sha256:65a93d69fa75478d554f4ad27c85c1e69fa184956261b4301ebaf6dbb0a3543d AS build
# The date of all files that the build writes, so that two builds of one commit agree.
ENV SOURCE_DATE_EPOCH=1767225600 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_COMPILE=1
WORKDIR /build
COPY requirements.lock pyproject.toml ./
COPY deploy/part_of_lock.py deploy/
RUN python deploy/part_of_lock.py requirements.lock pyproject.toml > runtime.lock \
    && python deploy/part_of_lock.py requirements.lock hatchling > tools.lock \
    && python -m venv /opt/driftline \
    && /opt/driftline/bin/pip install --require-hashes --no-deps --requirement runtime.lock \
    && python -m venv /opt/tools \
    && /opt/tools/bin/pip install --require-hashes --no-deps --requirement tools.lock
COPY README.md LICENSE ./
COPY driftline driftline
COPY producers producers
COPY consumers consumers
COPY batch batch
COPY grafana grafana
COPY clickhouse clickhouse
COPY monitors monitors
RUN /opt/tools/bin/pip wheel --no-deps --no-build-isolation --no-index --wheel-dir dist . \
    && /opt/driftline/bin/pip install --no-deps --no-index dist/*.whl \
    && /opt/driftline/bin/pip uninstall --yes pip setuptools \
    && python -m compileall -q --invalidation-mode unchecked-hash /opt/driftline/lib

FROM python:3.11.14-slim-bookworm@sha256:65a93d69fa75478d554f4ad27c85c1e69fa184956261b4301ebaf6dbb0a3543d
# OpenMP, which scikit-learn's gradient boosting needs, is in its wheel: no package of the system is added.
COPY --from=build /opt/driftline /opt/driftline
# Compose runs the image as the owner of the secrets, any number: the data folder must take whoever comes.
RUN useradd --uid 10001 --no-create-home --home-dir /var/lib/driftline --shell /usr/sbin/nologin driftline \
    && install --directory --mode 1777 /var/lib/driftline /months
ENV PATH=/opt/driftline/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp \
    DO_NOT_TRACK=1 \
    WHYLOGS_NO_ANALYTICS=True \
    DRIFTLINE_HOME=/var/lib/driftline
USER 10001:10001
WORKDIR /var/lib/driftline
VOLUME /var/lib/driftline
# Long-running processes answer on their ops port; the others end before anybody asks.
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=4 \
    CMD ["python", "-c", "import os, urllib.request as u; port = os.environ.get('DRIFTLINE_OPS_PORT'); port and u.urlopen(f'http://127.0.0.1:{port}/healthz', timeout=4)"]
ENTRYPOINT ["driftline"]
CMD ["--help"]
