{{ config(materialized="table") }}
SELECT carrier, count(*) AS flights FROM flights.flights GROUP BY carrier
