FROM python:3.11-slim
RUN apt-get update && apt-get install -y --no-install-recommends make && rm -rf /var/lib/apt/lists/*
WORKDIR /lit
COPY . .
RUN make setup
ENTRYPOINT ["/lit/.venv/bin/lit"]
CMD ["up"]
