# passion in a container, for the CPU:   docker build --tag passion .
# For an NVIDIA GPU, with PyPI's build:  docker build --tag passion --build-arg TORCH_INDEX=https://pypi.org/simple .

FROM python:3.11-slim-bookworm AS wheel
WORKDIR /source
COPY setup.cfg pyproject.toml constraints.txt README.md LICENSE ./
COPY passion_components passion_components
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.11-slim-bookworm
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
COPY constraints.txt /tmp/
# That index has torch alone in the pinned version; what torch needs comes with the second line.
RUN pip install --no-cache-dir --no-deps --constraint /tmp/constraints.txt --index-url "$TORCH_INDEX" torch
COPY --from=wheel /wheels /tmp/wheels
RUN pip install --no-cache-dir --constraint /tmp/constraints.txt /tmp/wheels/*.whl

# The bundles lie where commands find them by name. Anyone may write in this home, and USER is set because MONAI asks
# for it, so that with --user "$(id -u):$(id -g)", a number without a name here, results belong to the caller.
COPY bundles /home/passion/.cache/passion/bundles
RUN useradd --uid 1000 --home-dir /home/passion passion && chmod -R a+rwX /home/passion
ENV HOME=/home/passion USER=passion
USER 1000
WORKDIR /data
ENTRYPOINT ["passion"]
